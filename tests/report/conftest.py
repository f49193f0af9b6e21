"""Synthetic suites, and the figures drawn of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_suite import MakeSuite, write_suite

from simo_cl.report.figures import FIGURES, Figure, write_figures
from simo_cl.results import Suite


@pytest.fixture(scope="session")
def write_suite_at() -> MakeSuite:
    """`write_suite` itself, for fixtures that several tests share."""
    return write_suite


@pytest.fixture(scope="session")
def write_incomplete_suite() -> Callable[[Path], Path]:
    """Writes a small suite with a failed run and a missing one below a folder; gives its own."""

    def write(parent: Path) -> Path:
        return write_suite(
            parent / "split_synthetic",
            strategies=("joint", "finetune", "er", "simo"),
            failed=[("er", 1)],
            missing=[("simo", 2)],
            experiences=3,
            classes=6,
            sample=6,
        )

    return write


@pytest.fixture
def panels() -> Callable[[Suite, Figure], list[ET.Element]]:
    """Writes a figure and gives its panels as the page shows them."""

    def drawn(suite: Suite, figure: Figure) -> list[ET.Element]:
        written = write_figures(suite, [figure])[figure.name].panels
        return [ET.fromstring(written[panel.key]) for panel in figure.panels]

    return drawn


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have three alone, where what matters is not what they show."""
    few = ("accuracy", "critical_difference", "tsne")
    monkeypatch.setattr(FIGURES, "_parts", {name: FIGURES[name] for name in few})


@pytest.fixture
def make_suite(tmp_path: Path) -> MakeSuite:
    """Write a suite's result folder and return it; see `write_suite`."""

    def make(**options: Any) -> Path:
        return write_suite(tmp_path / "results" / "split_synthetic", **options)

    return make
