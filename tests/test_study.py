"""docs/study.md and the README's results say what results/ has."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from matplotlib import pyplot as plt
from tiny import ROOT


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_study", ROOT / "docs" / "make_study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["docs/study.md", "README.md"])
def test_tables_are_those_of_the_results(study: ModuleType, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    assert study.with_blocks(text) == text
    assert "<!-- end -->" in text


def test_numbers_in_sentences_stand_in_a_table() -> None:
    page = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- \w+ -->\n.*?<!-- end -->", page, re.DOTALL)
    in_tables = set(re.findall(r"\d\.\d{3}", "".join(blocks)))
    prose = re.sub(r"<!-- \w+ -->\n.*?<!-- end -->", "", page, flags=re.DOTALL)

    assert set(re.findall(r"\d\.\d{3}", prose)) <= in_tables


def test_every_table_and_figure_is_on_the_page_and_can_be_drawn(study: ModuleType) -> None:
    page = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")

    assert set(study.BLOCKS) == set(re.findall(r"<!-- (\w+) -->", page)) - {"end"}
    assert {f"figures/study_{name}.svg" for name in study.DRAWN} == set(
        re.findall(r"\((figures/study_\w+\.svg)\)", page)
    )
    for draw in study.DRAWN.values():
        plt.close(draw())
