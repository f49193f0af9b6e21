"""Which settings, versions and machines the finished runs share, and where they differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from simo_cl.results import Suite, flat_settings, variant_settings

# What names a run, not what it was set to.
_IDENTITY = ("entry", "strategy", "seed", "variant")
_OWN = "settings."
_ONLINE = ("stream.batch_size", "stream.replay_batch_size", "stream.updates_per_batch")

Values = dict[str, dict[str, str]]
"""Of each key, the value that every row has, or several of its runs; a row without it is absent."""

_Texts = dict[str, dict[str, dict[str, None]]]
"""The same before several are joined, in the order met."""


class Settings(NamedTuple):
    """The settings of a suite's finished runs, with dotted names.

    Attributes:
        common: the same in all runs.
        differing: suite settings that differ between rows: a grid's, or a mistake.
        own: each strategy's own settings, which are there to differ.
    """

    common: dict[str, str]
    differing: Values
    own: Values


def compare_settings(suite: Suite) -> Settings:
    """Sort all settings of the finished runs by whether the rows share them.

    Those of the online protocol say nothing of runs in the other one, and are left out there.
    """
    values = _by_row((run.label, flat_settings(run.config)) for run in suite.finished_runs)
    batch = set(itertools.chain(*values.get("stream.protocol", {}).values())) == {"batch"}
    left_out = (*_IDENTITY, *(_ONLINE if batch else ()))
    values = {key: by_label for key, by_label in values.items() if key not in left_out}
    own = {key: by_label for key, by_label in values.items() if key.startswith(_OWN)}
    common, differing = _sorted(suite, {k: v for k, v in values.items() if k not in own})
    return Settings(common, differing, {k.removeprefix(_OWN): v for k, v in _joined(own).items()})


def unplanned(suite: Suite, settings: Settings) -> list[str]:
    """The suite settings that differ between rows and are not what a grid sets."""
    crossed = {key for run in suite.runs for key in variant_settings(run.variant)}
    return [key for key in settings.differing if key not in crossed]


def compare_environments(suite: Suite) -> Settings:
    """The same for versions and hardware; `own` is empty."""
    values = _by_row((run.label, run.environment) for run in suite.finished_runs)
    common, differing = _sorted(suite, values)
    return Settings({key: value for key, value in common.items() if value}, differing, {})


def lookup(config: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted name, or None."""
    value: Any = config
    for part in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _by_row(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> _Texts:
    """The distinct values of each row's runs."""
    found: _Texts = {}
    for label, values in runs:
        for key, value in values.items():
            found.setdefault(key, {}).setdefault(label, {})[_show(value)] = None
    return found


def _joined(values: _Texts) -> Values:
    return {
        key: {label: " or ".join(texts) for label, texts in by_label.items()}
        for key, by_label in values.items()
    }


def _sorted(suite: Suite, values: _Texts) -> tuple[dict[str, str], Values]:
    """What all runs share, and what they do not."""
    common = {}
    for key, by_label in values.items():
        text, *others = dict.fromkeys(itertools.chain(*by_label.values()))
        if len(by_label) == len(suite.finished_labels) and not others:
            common[key] = text
    return common, _joined({key: of for key, of in values.items() if key not in common})


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
