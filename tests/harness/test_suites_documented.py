"""docs/suites.md has every key of a suite and of the shipped strategies, with its default."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from tiny import ROOT, SHIPPED, STRATEGIES

from simo_cl.harness.settings import Suite
from simo_cl.harness.strategy_files import load_strategy
from simo_cl.harness.suite_file import read_suite
from simo_cl.models import encoder_names

PAGE = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
ROWS = {
    key: (kind, default)
    for key, kind, default in re.findall(r"^\| `([\w.]+)` \| ([^|]*) \| ([^|]*) \|", PAGE, re.M)
}


SHIPPED_SUITES = {
    name: tuple(cell.strip() for cell in cells)
    for name, *cells in re.findall(
        r"^\| \[(\w+)\]\(\.\./benchmarks/\1\.yaml\) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", PAGE, re.M
    )
}


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key with its field, sections opened."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= fields(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def as_read(default: str) -> Any:
    """A default as the page writes it: in code, or "none", or nothing for a required key."""
    code = re.fullmatch(r"`(.*)`", default.strip())
    if code is None:
        return default.strip()
    value = yaml.safe_load(code[1])
    # YAML reads 5e-4 as a text.
    return float(value) if re.fullmatch(r"[\d.]+e-?\d+", str(value)) else value


def same(field: Any, default: str) -> bool:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return as_read(default) == "required"
    if value in (None, "", (), {}):
        return as_read(default) in ("none", "the file's name")
    return bool(as_read(default) == (list(value) if isinstance(value, tuple) else value))


@pytest.mark.parametrize("key", fields(Suite))
def test_every_key_of_a_suite_is_documented(key: str) -> None:
    kind, default = ROWS[key]

    assert kind.strip()
    assert same(fields(Suite)[key], default), default


@pytest.mark.parametrize("name", SHIPPED)
def test_every_setting_of_a_shipped_strategy_is_documented(name: str) -> None:
    for key, field in load_strategy(name, STRATEGIES).settings_model.model_fields.items():
        kind, default = ROWS[key]

        assert kind.strip()
        assert same(field, default), key


def test_every_shipped_suite_is_listed_with_its_data_memory_and_seeds() -> None:
    suites = [read_suite(path).suite for path in (ROOT / "benchmarks").glob("*.yaml")]
    expected = {
        suite.name: (f"`{suite.data.name}`", memory(suite), f"{len(suite.seeds)}")
        for suite in suites
    }

    assert expected == SHIPPED_SUITES


def test_every_encoder_is_documented() -> None:
    section = PAGE.partition("\n## Encoders\n")[2].partition("\n## ")[0]

    assert sorted(re.findall(r"^\| (\w+) \| \d", section, re.M)) == encoder_names()


def memory(suite: Suite) -> str:
    if sizes := suite.grid.get("memory.size"):
        return f"{min(sizes):,} to {max(sizes):,}"
    replays = not all((settings or {}).get("joint") for settings in suite.strategies.values())
    return f"{suite.memory.size:,}" if replays else "none"


def test_nothing_is_documented_that_is_not_there() -> None:
    known = set(fields(Suite))
    for name in SHIPPED:
        known |= set(load_strategy(name, STRATEGIES).settings_model.model_fields)

    assert set(ROWS) == known
