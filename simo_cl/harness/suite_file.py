"""Read a suite file; where it is wrong, say where and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from simo_cl.harness.settings import CommonSettings, Suite

KeyPath = tuple[str | int, ...]


class SuiteError(ValueError):
    """A suite that cannot be run as it is written. The message says where and why."""


def read_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """Reads and validates a suite file.

    Args:
        path: a YAML file.
        overrides: ``key=value`` with a dotted key, as ``training.epochs=1`` or ``simo@epsilon=0.2``;
            the value is read as YAML.

    Raises:
        SuiteError: names the file, line and key, what was given and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError(f"{path}: cannot read the suite file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SuiteError(f"{path}: not a text file in UTF-8; a suite is a YAML file") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise SuiteError(f"{path}: a suite is a mapping of keys to settings; see docs/suites.md")
    lines = dict(_lines(node))
    _refuse_repeated_keys(path, node)
    content.setdefault("name", path.stem)
    for override in overrides:
        _apply(content, override)
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise SuiteError(_explain(path, lines, error, Suite)) from None


def set_key(content: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key, or ``strategy@setting``, in a nested dictionary."""
    if "@" in key:
        strategy, setting = key.split("@", 1)
        parts = ["strategies", strategy, setting]
    else:
        parts = key.split(".")
    here = content
    for part in parts[:-1]:
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
        if not isinstance(here, dict):
            raise SuiteError(f"{key}: {part!r} is a single value and has no setting {parts[-1]!r}")
    here[parts[-1]] = value


def explain_validation(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The complaints of a validation, a line each, with what is allowed and the nearest match."""
    return "\n".join(f"{where}{_complaint(item, model)}" for item in error.errors())


def nearest(given: str, allowed: Sequence[str]) -> str:
    """`` Did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise SuiteError(f"--set {override}: write key=value, as in --set training.epochs=1")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SuiteError(f"--set {override}: {value!r} is not a valid YAML value") from None
    strategy = key.partition("@")[0] if "@" in key else None
    strategies = content.get("strategies")
    if strategy and isinstance(strategies, dict) and strategy not in strategies:
        raise SuiteError(
            f"--set {override}: the suite has no strategy {strategy!r}; it has "
            f"{', '.join(strategies)}.{nearest(strategy, list(strategies))}"
        )
    set_key(content, key, parsed)


def _explain(
    path: Path, lines: dict[KeyPath, int], error: ValidationError, model: type[BaseModel]
) -> str:
    complaints = []
    for item in error.errors():
        location = item["loc"]
        while location and location not in lines:
            location = location[:-1]
        where = f"{path}:{lines[location]}: " if location in lines else f"{path}: "
        complaints.append(where + _complaint(item, model))
    return "\n".join(dict.fromkeys(complaints))


def _complaint(item: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    given = item.get("input")
    if item["type"] == "extra_forbidden":
        allowed = _allowed_keys(model, item["loc"][:-1])
        name = str(item["loc"][-1])
        return f"unknown key {key!r}; allowed here: {', '.join(allowed)}.{nearest(name, allowed)}"
    if item["type"] == "missing":
        return f"key {key!r} is missing; it is required"
    if item["type"] == "literal_error":
        expected = item["ctx"]["expected"]
        allowed = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        hint = nearest(given, allowed) if isinstance(given, str) else ""
        return f"{key} is {given!r}; allowed: {expected}.{hint}"
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{key} is {given!r} ({type(given).__name__}): {message}"


def _allowed_keys(model: type[BaseModel], location: KeyPath) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return sorted(CommonSettings.model_fields)
        model = field.annotation
    return list(model.model_fields)


def _lines(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    """Key paths and the lines, counted from 1, on which they stand."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index))


def _refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    seen: dict[KeyPath, int] = {}
    for key_path, line in _lines(node):
        if key_path in seen:
            key = ".".join(map(str, key_path))
            raise SuiteError(f"{path}:{line}: key {key!r} stands on line {seen[key_path]} already")
        seen[key_path] = line
