from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import STRATEGIES, planned, write_suite

from simo_cl.harness.earlier_results import belonging, listed_in_plan, refuse_to_replace
from simo_cl.harness.execute_suite import write_plan
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.settings import NUMERICS, Suite
from simo_cl.harness.suite_file import SuiteError
from simo_cl.results import DataRecord, RunFolder
from simo_cl.streams import load_data

BOTH = "strategies: {er: , finetune: }\n"


class Results:
    """A suite's folder in which runs begin and end without training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = load_data("digits")

    def begin(self, runs: Sequence[PlannedRun]) -> None:
        for run in runs:
            RunFolder(self.folder / run.folder).start(run.config, DataRecord.of(self.data), {})

    def command(self, all_runs: Sequence[PlannedRun], asked_for: Sequence[PlannedRun]) -> set[str]:
        """What a command does that finishes its runs; gives what is shown then."""
        kept = belonging(all_runs, asked_for, self.folder)
        self.check(all_runs, asked_for)
        suite = Suite.model_validate({"name": "tiny", "strategies": {"er": {}}})
        write_plan(self.folder, suite, kept, command="simo-cl run", data=self.data)
        self.begin(asked_for)
        for run in asked_for:
            RunFolder(self.folder / run.folder).finish()
        return listed_in_plan(self.folder)

    def check(self, all_runs: Sequence[PlannedRun], asked_for: Sequence[PlannedRun]) -> None:
        kept = belonging(all_runs, asked_for, self.folder)
        listed = listed_in_plan(self.folder)
        refuse_to_replace(all_runs, kept, self.folder, listed, "the tables")

    def refusal(
        self, all_runs: Sequence[PlannedRun], asked_for: Sequence[PlannedRun] | None = None
    ) -> str:
        with pytest.raises(SuiteError) as caught:
            self.check(all_runs, all_runs if asked_for is None else asked_for)
        return str(caught.value)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def folders(*runs: PlannedRun) -> set[str]:
    return {run.folder.as_posix() for run in runs}


def with_seed(folder: Path, seed: int) -> list[PlannedRun]:
    return planned(folder, BOTH + f"seeds: [{seed}]\n")


def test_whatever_seeds_a_command_names_the_others_stay(results: Results, tmp_path: Path) -> None:
    zero, one, two = (with_seed(tmp_path, seed) for seed in range(3))

    results.command(zero, zero)
    results.command([*zero, *one], one)
    assert results.command([*zero, *two], two) == folders(*zero, *one, *two)
    assert results.command(zero, zero) == folders(*zero, *one, *two)
    assert results.command(zero, zero[:1]) == folders(*zero, *one, *two)


def test_what_has_begun_stays_and_what_has_not_is_not_added(
    results: Results, tmp_path: Path
) -> None:
    zero, five = with_seed(tmp_path, 0), with_seed(tmp_path, 5)
    results.begin(five[:1])

    kept = belonging(zero, zero[1:], results.folder)

    assert folders(*kept) == folders(zero[1], five[0])


def test_other_settings_do_not_take_the_place_of_results_unasked(
    results: Results, tmp_path: Path
) -> None:
    runs = planned(tmp_path, BOTH + "seeds: [0, 1]\n")
    results.command(runs, runs)
    other = planned(tmp_path, BOTH, ("memory.size=20", "er@lr=0.5"))

    message = results.refusal(other, other[:1])

    assert f"4 runs finished in {results.folder} would leave the tables" in message
    assert "  er (2 runs): memory.size is 40 there, 20 here; er@lr is 0.001 there, 0.5 here\n" in (
        message
    )
    assert "  finetune (2 runs): memory.size is 40 there, 20 here\n" in message
    for way_out in ("--results DIR", "--set name=NAME", "--replace"):
        assert way_out in message


def test_what_other_commands_are_at_stays_while_they_are(results: Results, tmp_path: Path) -> None:
    runs = with_seed(tmp_path, 0)
    results.command(runs, runs[:1])
    results.begin(runs)
    other = planned(tmp_path, BOTH, ("memory.size=20",))
    of_other = belonging(other, other, results.folder)
    listed = folders(*runs)

    refuse_to_replace(other, of_other, results.folder, listed, "the tables")
    with pytest.raises(SuiteError, match="2 runs finished or running in"):
        refuse_to_replace(
            other, of_other, results.folder, listed, "the tables", others_at_work=True
        )
    refuse_to_replace(runs, runs, results.folder, listed, "the tables", others_at_work=True)


def test_what_was_replaced_blocks_nothing_and_comes_back_with_its_settings(
    results: Results, tmp_path: Path
) -> None:
    runs = with_seed(tmp_path, 0)
    other = planned(tmp_path, BOTH, ("memory.size=20",))
    results.command(runs, runs)
    suite = Suite.model_validate({"name": "tiny", "strategies": {"er": {}}})
    write_plan(results.folder, suite, other, command="--replace", data=results.data)

    assert results.command(other, other) == folders(*other)
    write_plan(
        results.folder,
        suite,
        belonging(runs, [], results.folder),
        command="--replace",
        data=results.data,
    )
    assert listed_in_plan(results.folder) == folders(*runs)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (BOTH, "strategies: {er: }\n", "finetune (1 run): none of the suite's strategies now"),
        (
            BOTH + "grid: {memory.size: [20, 40]}\n",
            BOTH + "grid: {memory.size: [20, 60]}\n",
            "er[memory.size=40], finetune[memory.size=40] (2 runs): no point of the suite's grid",
        ),
        (
            BOTH,
            BOTH + "grid: {memory.size: [20, 60]}\n",
            "er, finetune (2 runs): no point of the suite's grid now",
        ),
        (
            BOTH,
            BOTH.replace("er: ", "er: {lr: 1}"),
            "er (1 run): er@lr is 0.001 there, 1.0 here",
        ),
    ],
)
def test_a_changed_suite_says_what_would_leave_and_why(
    results: Results, tmp_path: Path, before: str, now: str, message: str
) -> None:
    runs = planned(tmp_path, before)
    results.command(runs, runs)

    assert message in results.refusal(planned(tmp_path, now))


def test_a_changed_strategy_file_is_named(results: Results, tmp_path: Path) -> None:
    strategies = tmp_path / "strategies"
    text = (STRATEGIES / "er.py").read_text()
    write_suite(strategies, text, "er.py")
    runs = planned(tmp_path, "strategies: {er: }\n", strategies=strategies)
    results.command(runs, runs)
    write_suite(strategies, text + "\n# changed\n", "er.py")
    changed = planned(tmp_path, "strategies: {er: }\n", strategies=strategies)

    assert f"er (1 run): {strategies / 'er.py'} has changed" in results.refusal(changed)


def test_what_other_code_has_computed_is_named(results: Results, tmp_path: Path) -> None:
    now = planned(tmp_path, "strategies: {er: }\n", plugins="0123")
    before = [
        replace(run, settings=run.settings.model_copy(update={"numerics": 0, "plugins": "none"}))
        for run in now
    ]
    results.command(before, before)

    assert folders(*before) & folders(*now) == set()
    message = f"er (1 run): numerics is 0 there, {NUMERICS} here; plugins is none there, 0123 here"
    assert message in results.refusal(now)


def test_more_of_a_grid_replaces_nothing(results: Results, tmp_path: Path) -> None:
    runs = planned(tmp_path, BOTH + "grid: {memory.size: [20]}\n")
    results.command(runs, runs)
    more = planned(tmp_path, BOTH + "grid: {memory.size: [20, 40]}\n")

    assert results.command(more, more) == folders(*more)


def test_what_has_not_finished_is_no_result(results: Results, tmp_path: Path) -> None:
    runs = with_seed(tmp_path, 0)
    results.command(runs, [])
    results.begin(runs)

    results.check(planned(tmp_path, BOTH, ("memory.size=20",)), [])


def test_without_a_plan_nothing_that_has_finished_is_replaced(
    results: Results, tmp_path: Path
) -> None:
    runs = with_seed(tmp_path, 0)
    results.command(runs, runs)
    (results.folder / "plan.json").write_text("{")

    assert results.command(runs, runs[:1]) == folders(*runs)
    (results.folder / "plan.json").write_text("{")
    assert "memory.size is 40 there" in results.refusal(
        planned(tmp_path, BOTH, ("memory.size=20",))
    )


def test_settings_that_cannot_be_read_are_no_reason_to_end_in_a_traceback(
    results: Results, tmp_path: Path
) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\n")
    results.command([run], [run])
    for content in ("[", "strategy: er", "data: 1\nstrategy: er\nvariant: ''\n"):
        (results.folder / run.folder / "config.yaml").write_text(content)
        RunFolder(results.folder / run.folder).finish()

        assert "1 run" in results.refusal(planned(tmp_path, "strategies: {finetune: }\n"))


def test_another_precision_is_one_of_the_settings_that_differ(
    results: Results, tmp_path: Path
) -> None:
    runs = planned(tmp_path, BOTH, ("model.precision=bfloat16",))
    results.command(runs, runs)

    refusal = results.refusal(planned(tmp_path, BOTH, ("model.precision=float32",)))
    assert "er, finetune (2 runs): model.precision is bfloat16 there, float32 here" in refusal
