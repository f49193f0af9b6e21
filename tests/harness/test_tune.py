from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import SETTINGS, write_suite

from simo_cl.harness.plan import TUNING_SEED, points_of
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.strategy_files import load_strategy
from simo_cl.harness.suite_file import SuiteError, read_suite
from simo_cl.harness.suite_lock import held_if_free
from simo_cl.harness.tune import Trial, Trials, _evenly, _plan, run_trials, trials_table
from simo_cl.results import write_atomically

STRATEGY = '''"""Fine-tuning that cannot be built with every setting."""

from avalanche.training.supervised import Naive

from simo_cl.harness.settings import StrategySettings

SEARCH_SPACE = {"lr": [1e-4, 1e-2], "kind": ["fine", "bad", "good"]}


class Settings(StrategySettings):
    kind: str = "good"
    other: int = 1


def build(setup, settings):
    if settings.kind == "bad":
        raise RuntimeError("no such luck")
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, plugins=[setup.budget()])
'''


def tune(
    folder: Path,
    trials: int,
    text: str = STRATEGY,
    more: str = "strategies: {own: {other: 7}}\n",
    replace: bool = False,
    entry: str = "own",
    seeds: int = 1,
) -> Trials:
    write_suite(folder / "strategies", text, "own.py")
    suite = write_suite(folder / "benchmarks", SETTINGS + more)
    with SuiteProgress(Console(quiet=True)) as progress:
        return run_trials(
            read_suite(suite, ["training.epochs=0.05"]),
            entry,
            folder / "strategies",
            trials,
            folder / "tuning",
            device=torch.device("cpu"),
            data_root=None,
            progress=progress,
            seeds=seeds,
            replace=replace,
        )


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trials]:
    folder = tmp_path_factory.mktemp("tune")
    return folder, tune(folder, 6)


def test_trials_are_different_points_of_the_search_space(tried: tuple[Path, Trials]) -> None:
    points = {tuple(trial.point.items()) for trial in tried[1].ranked}

    assert len(points) == 6
    assert {dict(point)["lr"] for point in points} == {1e-4, 1e-2}


def test_the_best_comes_first_and_what_failed_last(tried: tuple[Path, Trials]) -> None:
    scores = [trial.average_accuracy for trial in tried[1].ranked]

    assert scores[:4] == sorted(scores[:4], reverse=True)
    assert [math.isnan(score) for score in scores] == [False] * 4 + [True] * 2
    assert all(trial.point["kind"] == "bad" for trial in tried[1].ranked[4:])
    assert tried[1].best == tried[1].ranked[0]


def test_trials_train_on_nine_tenths_with_a_seed_of_their_own(tried: tuple[Path, Trials]) -> None:
    budget = tried[1].budget

    assert budget["seed"] == TUNING_SEED
    assert budget["stream"]["validation"] == 0.1
    assert budget["stream"]["evaluate_on"] == "validation"
    assert budget["training"]["epochs"] == 0.05


def test_what_is_not_searched_is_as_the_suite_says(tried: tuple[Path, Trials]) -> None:
    folder, _ = tried
    configs = list((folder / "tuning" / "runs").glob("*/*/config.yaml"))

    assert len(configs) == 6  # a run that fails says with what settings
    assert all("other: 7" in path.read_text() for path in configs)


def test_the_best_for_the_suite_keeps_what_the_suite_gives(tmp_path: Path) -> None:
    text = STRATEGY.replace('["fine", "bad", "good"]', '["good"]')
    more = "strategies: {mine: {strategy: own, other: 7}}\ngrid: {memory.size: [20, 40]}\n"

    found = tune(tmp_path, 1, text, more, entry="mine")

    assert found.path == tmp_path / "tuning" / "mine.json"
    assert found.best is not None
    assert found.best_as_yaml() == (
        f"mine: {{strategy: own, other: 7, lr: {found.best.point['lr']}, kind: good}}"
    )
    (folder,) = found.best.folders
    assert folder.parts[1] == f"mine@lr={found.best.point['lr']},kind=good"


def test_trials_are_planned_as_runs_are(tmp_path: Path) -> None:
    write_suite(tmp_path / "strategies", STRATEGY, "own.py")
    file = read_suite(
        write_suite(tmp_path, SETTINGS + "strategies: {own: }\ncheckpoint_minutes: 3\n")
    )
    own = load_strategy("own", tmp_path / "strategies")

    runs = _plan(file.suite, "own", own, file.locations, "float32", "none", 2)

    assert [run.checkpoint_minutes for run in runs] == [3.0] * 12
    seeds = [run.settings.seed for run in runs]
    assert seeds == [TUNING_SEED] * 6 + [TUNING_SEED + 1] * 6


def test_fewer_trials_are_among_more(tried: tuple[Path, Trials], tmp_path: Path) -> None:
    two = tune(tmp_path, 2)

    points = [trial.point for trial in tried[1].ranked]
    assert len(two.ranked) == 2
    assert all(trial.point in points for trial in two.ranked)


def test_the_file_has_every_trial_and_what_they_share(tried: tuple[Path, Trials]) -> None:
    content: Any = json.loads(tried[1].path.read_text())

    assert (content["entry"], content["strategy"]) == ("own", "own")
    assert content["search_space"] == {"lr": [1e-4, 1e-2], "kind": ["fine", "bad", "good"]}
    assert len(content["trials"]) == 6
    assert content["trials"][-1]["average_accuracy"] is None
    assert content["run"] == tried[1].budget


def test_the_file_keeps_what_has_finished_before(tmp_path: Path) -> None:
    text = STRATEGY.replace('["fine", "bad", "good"]', '["fine", "good"]')
    before = tune(tmp_path, 3, text).path.read_text()

    fewer = tune(tmp_path, 1, text)
    after = fewer.path.read_text()

    assert len(fewer.ranked) == 1
    assert len(fewer.earlier) == 2
    assert after == before


def test_the_file_is_written_before_another_command_may_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands at one entry: the later one's file has the trials of both."""
    free = []

    def write(path: Path, content: str) -> None:
        with held_if_free(tmp_path / "tuning" / "own.lock") as is_free:
            free.append(is_free)
        write_atomically(path, content)

    monkeypatch.setattr("simo_cl.harness.tune.write_atomically", write)
    text = STRATEGY.replace('["fine", "bad", "good"]', '["good"]')
    found = tune(tmp_path, 1, text)

    assert free == [False]
    assert len(json.loads(found.path.read_text())["trials"]) == 1


def test_trials_with_other_settings_do_not_take_their_place_unasked(tmp_path: Path) -> None:
    text = STRATEGY.replace('["fine", "bad", "good"]', '["good"]')
    path = tune(tmp_path, 1, text).path
    before = path.read_text()
    other = (tmp_path, 1, text, "strategies: {own: {other: 8}}\n")

    with pytest.raises(SuiteError, match=r"1 run\): own@other is 7 there, 8 here"):
        tune(*other)
    assert path.read_text() == before
    replaced = tune(*other, replace=True).path.read_text()

    assert json.loads(replaced)["folders"] != json.loads(before)["folders"]
    back = tune(tmp_path, 1, text, replace=True).path.read_text()
    assert back == before
    rmtree(tmp_path / "tuning" / "runs")
    with pytest.raises(SuiteError, match="trials whose run folders are not in"):
        tune(tmp_path, 1, text)
    assert path.read_text() == before


def test_a_trial_is_scored_by_the_mean_over_its_seeds(tmp_path: Path) -> None:
    text = STRATEGY.replace('["fine", "bad", "good"]', '["good"]')

    found = tune(tmp_path, 2, text, seeds=2)

    content = json.loads(found.path.read_text())
    both = [TUNING_SEED, TUNING_SEED + 1]
    assert content["seeds"] == both
    for trial in content["trials"]:
        assert list(trial["by_seed"]) == [str(seed) for seed in both]
        assert trial["average_accuracy"] == pytest.approx(sum(trial["by_seed"].values()) / 2)
    seeds = [Path(folder).name.partition("-")[0] for folder in content["folders"]]
    assert sorted(seeds) == [f"seed{TUNING_SEED}"] * 2 + [f"seed{TUNING_SEED + 1}"] * 2


def test_trials_are_ranked_over_the_same_seeds(tmp_path: Path) -> None:
    """Those of earlier commands stay in the file, and count in no mean."""
    text = STRATEGY.replace('["fine", "bad", "good"]', '["good"]')
    first, second = str(TUNING_SEED), str(TUNING_SEED + 1)
    two_seeds = json.loads(tune(tmp_path, 1, text, seeds=2).path.read_text())

    found = tune(tmp_path, 2, text, seeds=1)

    content = json.loads(found.path.read_text())
    assert content["seeds"] == [TUNING_SEED]
    by_lr = {trial["lr"]: trial for trial in content["trials"]}
    (before,) = two_seeds["trials"]
    assert by_lr[before["lr"]]["by_seed"] == before["by_seed"]
    assert set(before["by_seed"]) == {first, second}
    scores = [trial["average_accuracy"] for trial in content["trials"]]
    assert scores == [trial["by_seed"][first] for trial in content["trials"]]
    assert scores == sorted(scores, reverse=True)
    assert len(content["folders"]) == 3
    assert found.best is not None
    assert found.best.average_accuracy == scores[0]

    again = json.loads(tune(tmp_path, 1, text, seeds=2).path.read_text())

    ranked, not_asked_for = again["trials"]
    assert ranked == before
    assert not_asked_for["average_accuracy"] is None
    assert set(not_asked_for["by_seed"]) == {first}


def test_a_trial_that_failed_with_one_seed_has_no_score() -> None:
    failed = Trial({}, (0, 1), {0: 0.5, 1: math.nan}, [])
    assert math.isnan(failed.average_accuracy)
    assert replace(failed, seeds=(0,)).average_accuracy == 0.5
    assert math.isnan(replace(failed, seeds=(0, 2)).average_accuracy)


@pytest.mark.parametrize("count", [1, 4, 7, 12, 20, 24])
def test_trials_cover_each_axis_evenly(count: int) -> None:
    space: dict[str, list[Any]] = {"a": [1, 2, 3, 4], "b": ["x", "y", "z"], "c": [True, False]}
    points = points_of(space)

    chosen = [points[index] for index in _evenly(points, count)]

    assert len({tuple(point.items()) for point in chosen}) == count
    for axis, values in space.items():
        often = [sum(point[axis] == value for point in chosen) for value in values]
        assert max(often) - min(often) <= 1, axis


def test_a_best_value_at_the_end_of_its_axis_is_named(
    tried: tuple[Path, Trials], tmp_path: Path
) -> None:
    space = {"lr": [0.1, 0.3, 1.0], "views": [1, 2], "kind": ["a", "b", "c"], "other": [0, 1, 2]}
    write_suite(tmp_path, STRATEGY + f"\nSEARCH_SPACE = {space}\n", "wide.py")
    file = load_strategy("wide", tmp_path)

    def edges(lr: float, accuracy: float = 0.5) -> dict[str, str]:
        point = {"lr": lr, "views": 2, "kind": "a", "other": 1}
        trial = Trial(point, (0,), {0: accuracy}, [Path("run")])
        return replace(tried[1], file=file, ranked=[trial]).edges

    assert edges(0.3) == {}
    assert edges(1.0) == {"lr": "largest"}
    assert edges(0.1) == {"lr": "smallest"}
    assert edges(0.1, math.nan) == {}


def test_the_table_says_what_failed(tried: tuple[Path, Trials]) -> None:
    console = Console(width=100)
    with console.capture() as shown:
        console.print(trials_table(tried[1]))

    assert shown.get().count("failed") == 2


@pytest.mark.parametrize(
    ("trials", "text", "more", "message"),
    [
        (
            1,
            STRATEGY.replace("SEARCH_SPACE =", "NO_SPACE ="),
            "strategies: {own: }\n",
            r"own\.py has no SEARCH_SPACE to draw trials from",
        ),
        (7, STRATEGY, "strategies: {own: }\n", "the search space of 'own' has 6 points"),
        (
            1,
            STRATEGY,
            "strategies: {own: }\nseeds: [0, 1000000]\n",
            r"tiny\.yaml:12: seeds has 1000000, and those from 1000000 on are the seeds of tuning",
        ),
        (
            1,
            STRATEGY.replace('"kind":', '"kinds":'),
            "strategies: {own: }\n",
            r"own\.py: SEARCH_SPACE: unknown key 'strategies\.own\.kinds'.*Did you mean 'kind'",
        ),
        (
            1,
            STRATEGY + "\n\nPROTOCOLS = ('online',)\n",
            "strategies: {own: }\n",
            r"tiny\.yaml:11: own is for the online protocol alone, and stream\.protocol is batch",
        ),
        (1, STRATEGY, "strategies: {own: {othr: 1}}\n", r"tiny\.yaml:11: unknown key .*othr"),
    ],
)
def test_what_cannot_be_tuned_is_explained(
    tmp_path: Path, trials: int, text: str, more: str, message: str
) -> None:
    with pytest.raises(SuiteError, match=message):
        tune(tmp_path, trials, text, more)

    assert not (tmp_path / "tuning").exists()
