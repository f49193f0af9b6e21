"""The online protocol in suites."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny import FOR_ONLINE, ONLINE, STRATEGIES, entries, write_suite

from simo_cl.harness.plan import PlannedRun, plan_runs
from simo_cl.harness.suite_file import SuiteError, read_suite

ALL = entries(*FOR_ONLINE)
ER = "strategies: {er: }\n"
TRAINING_IMAGES = 1347
SMALL_EXPERIENCES = ("finetune", "der", "mir")
"""For those without a memory that is updated after every batch."""


def planned(folder: Path, text: str, *overrides: str) -> list[PlannedRun]:
    file = read_suite(write_suite(folder, text), overrides)
    return plan_runs(file.suite, STRATEGIES, file.locations, "float32")


@pytest.fixture(scope="module")
def lines(
    execute: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """The metrics of every strategy, run online on two tiny experiences, by strategy."""
    folder = tmp_path_factory.mktemp("online")
    runs = planned(folder, ONLINE + ALL)
    assert execute(runs, folder) == {}
    texts = {r.settings.entry: (folder / r.folder / "metrics.jsonl").read_text() for r in runs}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}


def test_each_batch_is_one_step(lines: dict[str, list[dict[str, Any]]]) -> None:
    for name, experiences in lines.items():
        metrics = [experience["metrics"] for experience in experiences]
        if name.startswith("joint"):
            assert [m["cost/steps"] for m in metrics] == [math.ceil(TRAINING_IMAGES / 20)], name
        else:
            steps = [m["cost/steps"] for m in metrics]
            assert steps[1] in (68, 69), name  # 1,347 / 20, rounded up in each of two parts
            assert math.isfinite(metrics[1]["train/loss"])


def test_the_memory_is_replayed_within_the_first_experience(
    lines: dict[str, list[dict[str, Any]]],
) -> None:
    images = {name: experiences[0]["metrics"] for name, experiences in lines.items()}
    first = images["finetune"]["cost/images"]
    # The memory holds the first batch, 20 samples, from the second batch on.
    replayed = 12 * (images["er"]["cost/steps"] - 1)
    for name in images:
        if name not in SMALL_EXPERIENCES and not name.startswith("joint"):
            assert images[name]["cost/images"] == first + replayed, name


def test_several_updates_a_batch_draw_from_the_memory_anew(execute: Any, tmp_path: Path) -> None:
    (run,) = planned(tmp_path, ONLINE + ER, "stream.updates_per_batch=3")
    execute([run], tmp_path)
    last = json.loads((tmp_path / run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["metrics"]["cost/steps"] in (3 * 68, 3 * 69)


def test_the_resolved_settings_say_the_protocol_s_budget(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, ONLINE + ER, "stream.updates_per_batch=2")
    training = run.settings.training
    assert (training.batch_size, training.new_share) == (32, 20 / 32)
    assert (training.epochs, training.schedule) == (2 * 32 / 20, "constant")


def test_a_contrastive_strategy_may_replay_more(execute: Any, tmp_path: Path) -> None:
    (run,) = planned(tmp_path, ONLINE + "strategies:\n  simo: {views: 2, replay_batch_size: 30}\n")
    execute([run], tmp_path)
    last = json.loads((tmp_path / run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    steps = last["metrics"]["cost/steps"]
    # One batch without a memory, one with 20 samples in it.
    assert last["metrics"]["cost/images"] == 2 * (TRAINING_IMAGES + 30 * (steps - 2) + 20)


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        (
            ONLINE,
            "training.batch_size=32",
            "--set training.batch_size=32: training.batch_size would do nothing with "
            "stream.protocol: online; leave it out. Settings of that protocol alone: "
            "stream.batch_size, stream.replay_batch_size, stream.updates_per_batch",
        ),
        (
            ONLINE + "grid: {training.epochs: [1, 2]}\n",
            "seeds=[0]",
            "tiny.yaml:7: training.epochs would do nothing with stream.protocol: online",
        ),
        (
            "stream: {batch_size: 10}\n",
            "seeds=[0]",
            "tiny.yaml:1: stream.batch_size would do nothing with stream.protocol: batch; leave "
            "it out. Settings of that protocol alone: "
            "training.batch_size, training.new_share, training.epochs, training.new_epochs, "
            "training.schedule",
        ),
        (ONLINE, "stream.batch_size=0", "stream.batch_size is 0"),
    ],
)
def test_settings_of_the_other_protocol_are_refused(
    tmp_path: Path, text: str, override: str, message: str
) -> None:
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, text + ER, override)


def test_mir_replays_older_classes_from_the_second_experience_on(
    lines: dict[str, list[dict[str, Any]]],
) -> None:
    first, second = (experience["metrics"] for experience in lines["mir"])
    whole = [experience["metrics"]["cost/images"] for experience in lines["finetune"]]
    assert first["cost/images"] == whole[0]
    # It scores all 20 samples of the older classes, and forwards 12 of them once more.
    steps = second["cost/steps"] - first["cost/steps"]
    assert second["cost/images"] - whole[1] == pytest.approx(steps * (20 + 12), rel=0.1)


def test_mir_is_refused_where_it_would_not_replay(tmp_path: Path) -> None:
    mir = ONLINE + "strategies: {mir: }\n"
    with pytest.raises(SuiteError, match=r"mir: memory.size is 24 and .* above 24$"):
        planned(tmp_path, mir, "memory.size=24")
    with pytest.raises(SuiteError, match=r"mir is for the online protocol alone"):
        planned(tmp_path, "strategies: {mir: }\n")


def test_a_strategy_that_is_not_for_the_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SuiteError,
        match=r"tiny.yaml:7: icarl is for the batch protocol alone, and stream.protocol is online",
    ):
        planned(tmp_path, ONLINE + "strategies: {icarl: }\n")


def test_replay_batch_size_is_refused_in_the_batch_protocol(tmp_path: Path) -> None:
    text = "data: {name: digits}\nstrategies:\n  simo: {replay_batch_size: 30}\n"
    with pytest.raises(
        SuiteError, match=r"tiny.yaml:3: simo: replay_batch_size is for stream.protocol: online"
    ):
        planned(tmp_path, text)
