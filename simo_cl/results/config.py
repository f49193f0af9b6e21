"""``config.yaml`` in a run's folder: its settings, as they were resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue, TypeAdapter, ValidationError

from simo_cl.results.atomic_write import write_atomically
from simo_cl.results.schema import first_error

CONFIG = "config.yaml"
# Where libyaml is there, in a tenth of the time; a suite has one such file a run.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SETTINGS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run, by section; no code in the file is run.

    Raises:
        ValueError: the file is absent, or no settings.
    """
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
        return _SETTINGS.validate_python(yaml.load(text, _Loader))
    except ValidationError as error:
        raise ValueError(f"{CONFIG} cannot be read: {first_error(error)}") from error
    except (OSError, ValueError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as e:
        # PyYAML lets through what Python raises for values that are not of their tag.
        raise ValueError(f"{CONFIG} cannot be read: {e}") from e


def flat_settings(settings: Mapping[Any, Any], within: str = "") -> dict[str, Any]:
    """Nested settings by dotted names; an empty section is a value.

    Example:
        >>> flat_settings({"memory": {"size": 200}, "seed": 0})
        {'memory.size': 200, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_settings(value, f"{within}{key}.")
        else:
            flat[f"{within}{key}"] = value
    return flat


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Replaces the file."""
    write_atomically(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))
