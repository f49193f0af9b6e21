"""docs/suites.md has every key of a suite."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from simo_cl.harness.settings import Suite

PAGE = Path(__file__).resolve().parents[2] / "docs" / "suites.md"


def test_every_key_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, field in Suite.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner in kind.model_fields:
                assert f"| `{name}.{inner}` |" in text
        else:
            assert f"| `{name}` |" in text
