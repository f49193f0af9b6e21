from __future__ import annotations

import json
from pathlib import Path

import pytest

from simo_cl.results import (
    PLAN,
    OutsideError,
    Plan,
    PlanEntry,
    ResultsError,
    load_suite,
    read_plan,
    read_suite,
)


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    entry = PlanEntry(strategy="simo", variant="a=1", seed=0, folder="runs/simo/seed0-1a2b3c4d")
    plan = Plan(suite="tiny", control="er", class_names=("cat", "dog"), runs=(entry,))
    plan.write(tmp_path / PLAN)
    assert read_plan(tmp_path) == plan
    assert entry.label == "simo[a=1]"


def test_a_plan_without_a_schema_is_of_the_first(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text('{"suite": "tiny", "more": 1, "runs": []}')
    assert read_plan(tmp_path) == Plan(suite="tiny", runs=())


def test_a_plan_is_read_through_no_link_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "plan").write_text(json.dumps({"suite": "tiny", "runs": []}))
    (tmp_path / "suite" / PLAN).symlink_to(tmp_path / "plan")
    with pytest.raises(OutsideError, match="is a link to"):
        read_plan(tmp_path / "suite")


PLANS = {
    "null": "Input should be an object",
    "7": "Input should be an object",
    "[]": "Input should be an object",
    '{"suite": "x"}': "runs: Field required",
    '{"suite": "x", "runs": 7}': "runs: Input should be a valid",
    '{"suite": "x", "runs": [null]}': "runs.0: Input should be an object",
    '{"suite": "x", "runs": [{}]}': "runs.0.strategy: Field required",
    '{"runs": [{}]}': "suite: Field required",
    '{"suite": "x", "runs": [{"strategy": "er", "folder": "runs/er/a"}]}': (
        "runs.0.seed: Field required"
    ),
    '{"suite": "x", "runs": [{"strategy": "er", "seed": "one", "folder": "runs/er/a"}]}': (
        "runs.0.seed: Input should be a valid integer"
    ),
}


@pytest.mark.parametrize(("plan", "message"), PLANS.items())
def test_a_malformed_plan_is_named_with_the_place(plan: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(plan)
    for read in (read_plan, read_suite, load_suite):
        with pytest.raises(ResultsError, match=r"plan\.json cannot be read") as error:
            read(tmp_path)
        assert message in str(error.value)
        assert str(tmp_path) in str(error.value)
