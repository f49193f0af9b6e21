"""Which settings, versions and machines the finished runs share, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simo_cl.results import Suite

# What names a run, not what it was set to.
_IDENTITY = ("entry", "strategy", "seed", "variant")
_OWN = "settings."


@dataclass(frozen=True)
class Difference:
    """One setting, and the value that every row has; a row without the setting is absent."""

    key: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Settings:
    """The settings of a suite's finished runs, with dotted names.

    Attributes:
        common: the same in all runs.
        differing: suite settings that differ between rows: a grid's, or a mistake.
        own: each strategy's own settings, which are there to differ.
    """

    common: Mapping[str, str]
    differing: tuple[Difference, ...]
    own: tuple[Difference, ...]


def compare_settings(suite: Suite) -> Settings:
    """Sort all settings of the finished runs by whether the rows share them."""
    by_key = _values_by_key(
        (run.label, dict(_flatten(run.config))) for run in suite.finished_runs if run.config
    )
    common, differing, own = {}, [], []
    for key, by_label in by_key.items():
        if key in _IDENTITY:
            continue
        difference = Difference(key.removeprefix(_OWN), _joined(by_label))
        if key.startswith(_OWN):
            own.append(difference)
        elif _shared(difference, suite):
            common[key] = next(iter(difference.values.values()))
        else:
            differing.append(difference)
    return Settings(common, tuple(differing), tuple(own))


def compare_environments(suite: Suite) -> Settings:
    """The same for versions and hardware; `own` is empty."""
    by_key = _values_by_key(
        (run.label, {key: _show(value) for key, value in run.environment.items()})
        for run in suite.finished_runs
    )
    differences = [Difference(key, _joined(by_label)) for key, by_label in by_key.items()]
    common = {d.key: next(iter(d.values.values())) for d in differences if _shared(d, suite)}
    differing = tuple(d for d in differences if d.key not in common)
    return Settings({key: value for key, value in common.items() if value}, differing, ())


def lookup(config: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted name, or None."""
    value: Any = config
    for part in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _values_by_key(
    runs: Iterator[tuple[str, Mapping[str, str]]],
) -> dict[str, dict[str, dict[str, None]]]:
    """key -> row -> its distinct values, in the order met."""
    by_key: dict[str, dict[str, dict[str, None]]] = {}
    for label, values in runs:
        for key, value in values.items():
            by_key.setdefault(key, {}).setdefault(label, {})[value] = None
    return by_key


def _joined(by_label: Mapping[str, Mapping[str, None]]) -> dict[str, str]:
    return {label: " or ".join(values) for label, values in by_label.items()}


def _shared(difference: Difference, suite: Suite) -> bool:
    everywhere = len(difference.values) == len(suite.finished_labels)
    values = set(difference.values.values())
    return everywhere and len(values) == 1 and " or " not in next(iter(values))


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        else:
            yield name, _show(value)


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_show, value)) or "none"
    return str(value)
