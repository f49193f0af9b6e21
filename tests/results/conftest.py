"""Synthetic suites to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_suite import MakeSuite, write_suite


@pytest.fixture
def make_suite(tmp_path: Path) -> MakeSuite:
    """Write a suite's result folder and return it; see `write_suite`."""

    def make(**options: Any) -> Path:
        return write_suite(tmp_path / "results" / "split_synthetic", **options)

    return make
