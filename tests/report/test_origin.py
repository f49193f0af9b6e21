from __future__ import annotations

import shutil

import pytest

from simo_cl.report.figures import draw_figure
from simo_cl.report.figures.comparison import strategies_compared
from simo_cl.report.origin import origins
from simo_cl.report.page_tables import origin_table
from simo_cl.report.statistics import compare_with_control
from simo_cl.results import load_suite, merge_suites


def origins_of(folder):
    suite = load_suite(folder)
    return origins(suite, compare_with_control(suite))


def test_what_was_learnt_and_what_was_kept_add_up_to_the_difference(make_suite):
    found = origins_of(make_suite(strategies=("finetune", "er", "icarl", "simo")))
    assert [origin.total.label for origin in found] == ["finetune", "icarl", "simo"]
    for origin in found:
        parts = origin.learnt.difference + origin.kept.difference
        assert parts == pytest.approx(origin.total.difference, abs=1e-9)
        assert origin.kept.low < origin.kept.difference < origin.kept.high


def test_finetuning_loses_by_what_it_keeps(make_suite):
    (origin,) = origins_of(make_suite(strategies=("finetune", "er")))
    assert origin.learnt.difference > 0 > origin.kept.difference
    assert origin.kept.verdict == "below"


def test_a_stream_of_one_experience_has_nothing_to_keep(make_suite):
    assert origins_of(make_suite(strategies=("er", "simo"), experiences=1)) == []


def test_each_stream_has_as_many_experiences_as_it_has(write_suite_at, tmp_path):
    folders = [
        write_suite_at(tmp_path / name, strategies=("er", "simo"), experiences=experiences)
        for name, experiences in (("one", 5), ("two", 2))
    ]
    suite = merge_suites([load_suite(folder) for folder in folders])
    found = origins(suite, compare_with_control(suite))
    assert [origin.total.label for origin in found] == ["simo[suite=one]", "simo[suite=two]"]
    for origin in found:
        parts = origin.learnt.difference + origin.kept.difference
        assert parts == pytest.approx(origin.total.difference, abs=1e-9)


def test_seeds_without_a_test_are_not_called_one(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1), sample=3)
    for file in folder.glob("runs/er/*/metrics.jsonl"):
        shutil.copy(file, folder / "runs" / "simo" / file.parent.name / file.name)
    suite = load_suite(folder)
    table = origin_table(suite, compare_with_control(suite))
    assert table.note == "Mean over shared seeds"
    canvas = draw_figure(suite, strategies_compared(suite))
    assert canvas.axes[1].get_xlabel() == "difference from er, 2 seeds"
