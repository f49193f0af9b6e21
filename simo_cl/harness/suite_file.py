"""Read a suite file; where it is wrong, say where and what is allowed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from simo_cl.harness.settings import BUDGETS, OF_KEYS, Suite
from simo_cl.registry import did_you_mean, nearest

KeyPath = tuple[str, ...]
"""Keys from the top of a suite down; a place in a list is a key, too, such as ``"0"``."""


class SuiteError(ValueError):
    """A suite that cannot be run as it is written. The message says where and why."""


@dataclass(frozen=True)
class Locations:
    """Where settings were given, for messages about them.

    Attributes:
        path: the file they are from.
        given: a key's path in the file to where it was given: ``suite.yaml:3`` or ``--set x=1``.
    """

    path: Path
    given: Mapping[KeyPath, str] = field(default_factory=dict)

    def of(self, *key: str | int) -> str:
        """Where a key was given, or something in it, or else what it belongs to, or the file."""
        path = tuple(str(part) for part in key)
        while path:
            for given, location in self.given.items():
                if given[: len(path)] == path:
                    return location
            path = path[:-1]
        return str(self.path)

    def of_setting(self, key: str) -> str:
        """Where a dotted key was given, in its section or in the grid."""
        in_grid = ("grid", key) in self.given
        return self.of("grid", key) if in_grid else self.of(*key.split("."))

    def complaint(self, key: str, text: str) -> SuiteError:
        """About a dotted key, to raise: where it was given, its name, and the text."""
        return SuiteError(f"{self.of(*key.split('.'))}: {key} {text}")

    def moved(self, key: KeyPath, location: str) -> Locations:
        """These locations, but a key with all that belongs to it was given at ``location``."""
        rest = {other: at for other, at in self.given.items() if other[: len(key)] != key}
        return Locations(self.path, {**rest, key: location})


@dataclass(frozen=True)
class SuiteFile:
    """A suite as read, and where its settings were given."""

    suite: Suite
    locations: Locations


def read_suite(
    path: Path,
    overrides: Sequence[str] = (),
    settings_of: Callable[[str], Collection[str]] = lambda strategy: (),
) -> SuiteFile:
    """Reads and validates a suite file.

    Args:
        path: a YAML file.
        overrides: ``key=value`` with a dotted key, as ``training.epochs=1`` or
            ``simo@epsilon=0.2``; the value is read as YAML. A budget takes the place of the file's,
            in whichever of the two ways each is said.
        settings_of: names of a strategy's own settings, for the message about an override that does
            not say of which entry it is.

    Raises:
        SuiteError: names the file, line and key, what was given and what is allowed.
    """
    content, locations = _parse(path)
    content.setdefault("name", path.stem)
    if any(override.partition("=")[0].strip() in BUDGETS for override in overrides):
        _remove_budget(content)
    for override in overrides:
        locations = _apply(content, override, locations, settings_of)
    try:
        return SuiteFile(Suite.model_validate(content), locations)
    except ValidationError as error:
        raise SuiteError(explain_validation(error, Suite, locations)) from None


def plain(value: Any, where: str) -> Any:
    """A value as a suite file gives it: NumPy's numbers and arrays as Python's, tuples as lists.

    Raises:
        SuiteError: no suite file can have it; the message begins with ``where``.
    """

    def convert(part: Any) -> Any:
        if hasattr(part, "tolist"):
            return part.tolist()
        raise SuiteError(f"{where} has {part!r}, which no suite file can have")

    try:
        return json.loads(json.dumps(value, default=convert))
    except (TypeError, ValueError) as error:  # a key of another type, a list that holds itself
        raise SuiteError(f"{where} has what no suite file can have: {error}") from None


def as_yaml(value: Any) -> str:
    """A plain value in one line, which reads as the same value."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("...\n").strip()


def key_path(key: str) -> KeyPath:
    """The path of a dotted key or of ``entry@setting``: ("strategies", entry, setting). What comes
    after ``grid.`` is one key of the grid."""
    if key.startswith("grid."):
        return "grid", key.removeprefix("grid.")
    entry, at, setting = key.partition("@")
    return ("strategies", entry, setting) if at else tuple(key.split("."))


def set_key(content: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Sets a dotted key, or ``entry@setting``, in a nested dictionary.

    Raises:
        SuiteError: the key goes through a single value; the message begins with ``where``.
    """
    *outer, last = key_path(key)
    here = content
    for part in outer:
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
        if not isinstance(here, dict):
            raise SuiteError(f"{where}: {part!r} is a single value and has no setting {last!r}")
    here[last] = value


def explain_validation(
    error: ValidationError, model: type[BaseModel], locations: Locations, within: KeyPath = ()
) -> str:
    """The complaints of a validation, a line each: place, key, what was given, what is allowed.

    Args:
        error: of the validation.
        model: that refused.
        locations: of the settings.
        within: path of the key whose value was validated.
    """
    items = error.errors()
    complaints = [
        f"{locations.of(*within, *item['loc'])}: {_complaint(item, model, within)}"
        for item in items
        if item["type"] != OF_KEYS
        and not (item["type"] == "too_short" and _has_bad_item(item, items))
    ]
    complaints += [
        f"{locations.of_setting(key)}: {key} {item['msg']}"
        for item in items
        if item["type"] == OF_KEYS
        for key in item["ctx"]["keys"]
    ]
    return "\n".join(dict.fromkeys(complaints))


class _Loader(yaml.SafeLoader):
    """Says in which line a value stands that looks like a date or a number and is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"{node.value!r} is no {kind} ({error}); put a text into quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def _parse(path: Path) -> tuple[dict[str, Any], Locations]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError(
            f"{path}: cannot read the suite file: {error.strerror}. {_suites_near(path)}"
        ) from None
    except UnicodeDecodeError:
        raise SuiteError(f"{path}: not a text file in UTF-8; a suite is a YAML file") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise SuiteError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}: not valid YAML: {error}") from None
    except RecursionError:
        raise SuiteError(f"{path}: not valid YAML: too many brackets in each other") from None
    if not isinstance(content, dict):
        raise SuiteError(
            f"{path}: a suite is a mapping of keys to settings, and at least `strategies`; see "
            "docs/suites.md"
        )
    lines: dict[KeyPath, int] = {}
    try:
        for key, number in _lines(node):
            if key in lines:
                raise SuiteError(
                    f"{path}:{number}: key {'.'.join(key)!r} stands on line {lines[key]} already"
                )
            lines[key] = number
    except RecursionError:
        raise SuiteError(f"{path}: a value refers to itself (by & and *)") from None
    return content, Locations(path, {key: f"{path}:{number}" for key, number in lines.items()})


def _remove_budget(content: dict[str, Any]) -> None:
    """From a suite that has not been validated."""
    for key in BUDGETS:
        section, setting = key_path(key)
        if isinstance(content.get(section), dict):
            content[section].pop(setting, None)


def _suites_near(path: Path) -> str:
    folders = dict.fromkeys((path.parent, path.parent / "benchmarks"))
    there = [suite for folder in folders for suite in sorted(folder.glob("*.yaml"))]
    if not there:
        return "`simo-cl init DIR` writes the shipped suites."
    suites = {suite.stem: str(suite) for suite in there}
    near = nearest(path.stem, suites)
    hint = f" Did you mean {suites[near]!r}?" if near else ""
    return f"Suites near there: {', '.join(map(str, there))}.{hint}"


def _lines(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    """Key paths and the lines, counted from 1, on which they stand."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, str(index)), value.start_mark.line + 1
            yield from _lines(value, (*path, str(index)))


def _apply(
    content: dict[str, Any],
    override: str,
    locations: Locations,
    settings_of: Callable[[str], Collection[str]],
) -> Locations:
    key, equals, value = (part.strip() for part in override.partition("="))
    where = f"--set {override}"
    if not equals or not key:
        raise SuiteError(f"{where}: write key=value, as in --set training.epochs=1")
    try:
        parsed = yaml.load(value, _Loader)
    except (yaml.YAMLError, RecursionError):
        raise SuiteError(f"{where}: {value!r} is not a valid YAML value") from None
    entry, at, _ = key.removeprefix("grid.").partition("@")
    entries = content.get("strategies")
    if isinstance(entries, dict):
        names = [str(name) for name in entries]
        if at and entry not in entries:
            raise SuiteError(
                f"{where}: the suite has no strategy {entry!r}; it has {', '.join(names)}."
                f"{did_you_mean(entry, names)}"
            )
        section, dot, setting = key.partition(".")
        if dot and not at and section in names and section not in Suite.model_fields:
            raise SuiteError(
                f"{where}: {section} is an entry of the suite; write {section}@{setting}={value} "
                "for a setting of an entry"
            )
        if key not in Suite.model_fields:
            having = [
                str(name)
                for name, given in entries.items()
                if key in settings_of(_strategy_of(given, str(name)))
            ]
            if having:
                listed = " or ".join(f"{name}@{key}" for name in having)
                raise SuiteError(f"{where}: {key} is a setting of one entry: write {listed}")
    set_key(content, key, parsed, where)
    return locations.moved(key_path(key), where)


def _strategy_of(entry: Any, name: str) -> str:
    """The strategy of an entry that has not been validated."""
    return str(entry.get("strategy", name)) if isinstance(entry, dict) else name


def _has_bad_item(short: Any, items: Sequence[Any]) -> bool:
    """Whether a list is only too short because something in it was refused."""
    loc = short["loc"]
    return any(item["loc"][: len(loc)] == loc and item["loc"] != loc for item in items)


def _complaint(item: Any, model: type[BaseModel], within: KeyPath) -> str:
    key = ".".join(str(part) for part in (*within, *item["loc"]))
    given, kind = item.get("input"), item["type"]
    if kind == "extra_forbidden":
        of = _model_at(model, item["loc"][:-1])
        allowed = [] if of is None else list(of.model_fields)
        unknown = str(item["loc"][-1])
        elsewhere = [path for path in _key_paths(model) if path.endswith(f".{unknown}")]
        hint = did_you_mean(unknown, allowed)
        if elsewhere:
            hint = f" Did you mean {' or '.join(elsewhere)}?"
        listed = f"; allowed here: {', '.join(allowed)}." if allowed else ""
        return f"unknown key {key!r}{listed}{hint}"
    if kind == "missing":
        return f"key {key!r} is missing; it is required"
    if kind == "invalid_key" or key.endswith(".[key]"):
        outer = item["loc"][: -1 if kind == "invalid_key" else -2]
        name = ".".join(str(part) for part in (*within, *outer, given))
        problem = "is no text; put it into quotes"
        if kind == "string_pattern_mismatch":
            problem = _WANTED[kind]
        return f"key {name!r} {problem}"
    if given is None and kind in ("literal_error", "value_error"):
        expected = item["ctx"].get("expected")
        what = f"; allowed: {expected}" if expected else f": {item['ctx']['error']}"
        return f"{key} has no value{what}"
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        allowed = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        hint = did_you_mean(given, allowed) if isinstance(given, str) else ""
        return f"{key} is {given!r}; allowed: {expected}.{hint}"
    if kind == "value_error":
        return f"{key} is {given!r}: {item['ctx']['error']}"
    wanted = _WANTED.get(kind)
    if kind == "too_short" and item["ctx"]["min_length"] == 1:
        wanted = "must not be empty"
    if wanted is None:
        wanted = item["msg"].replace("Input should", "must")
        wanted = wanted[0].lower() + wanted[1:]
    if kind in _BOUNDS and (meaning := _meaning(model, item["loc"])):
        wanted += f" ({meaning})"
    if given is None:
        return f"{key} has no value: it {wanted}"
    return f"{key} is {given!r} ({_TYPES.get(type(given), type(given).__name__)}): {wanted}"


def _model_at(model: type[BaseModel], location: KeyPath) -> type[BaseModel] | None:
    """At that place; none where a strategy's own settings nest in another way."""
    for part in location:
        annotation = getattr(model.model_fields.get(str(part)), "annotation", None)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    return model


def _key_paths(model: type[BaseModel], within: str = "") -> Iterator[str]:
    """The dotted keys of all settings, those in sections included."""
    for name, of in model.model_fields.items():
        yield within + name
        if isinstance(of.annotation, type) and issubclass(of.annotation, BaseModel):
            yield from _key_paths(of.annotation, f"{within}{name}.")


def _meaning(model: type[BaseModel], location: KeyPath) -> str | None:
    """What the setting at that place is, where it is said."""
    of = _model_at(model, location[:-1])
    return None if of is None else getattr(of.model_fields.get(location[-1]), "description", None)


_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
_TYPES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}
_WANTED = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping, as {key: value}",
    "dict_type": "must be a mapping, as {key: value}",
    "list_type": "must be a list, as [1, 2]",
    "tuple_type": "must be a list, as [1, 2]",
    "string_pattern_mismatch": (
        "must be made of letters, digits, '.', '_' and '-', and begin with a letter or digit"
    ),
}
