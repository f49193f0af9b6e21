"""Experiences and memories that are smaller than a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import FOR_BATCHES, FOR_ONLINE, ONLINE, SETTINGS, entries, planned

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.suite_file import SuiteError
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet, Images, load_data

# Its last maps are 1 x 1 for digits, so that batch normalization cannot train on one image.
ENCODER = ("stream.experiences=3", "model.encoder=slim_resnet18", "model.width=8")
AVALANCHES_LOADERS = ("finetune", "er", "er_simo", "opl", "der")


def first_of_each(counts: list[int]) -> DataSet:
    """So many training images of each digit, and four test images."""
    digits = load_data("digits")

    def some(images: Images, counts: list[int]) -> Images:
        of_class = [(images.labels == c).nonzero().flatten() for c in range(len(counts))]
        rows = torch.cat([rows[:n] for rows, n in zip(of_class, counts, strict=True)])
        return Images(images.images[rows], images.labels[rows])

    names = tuple(map(str, range(len(counts))))
    test = some(digits.test, [4] * len(counts))
    return DataSet("digits", some(digits.train, counts), test, names, "few digits")


@pytest.fixture(scope="module")
def long_tailed() -> DataSet:
    """Experiences of 5, 41 and 2 images: online, in batches of 20, one image would be left over."""
    return first_of_each([3, 2, 21, 20, 1, 1])


@pytest.fixture(autouse=True)
def _no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting the model takes longer than all the rest."""
    monkeypatch.setattr("simo_cl.harness.execute_run.export_model", lambda *arguments: None)


def costs(folder: Path, strategy: str, settings: str, data: DataSet, *more: str) -> list[Any]:
    """Steps and images after each experience."""
    (run,) = planned(folder, entries(strategy), (*ENCODER, *more), settings=settings)
    execute_run(run, data, RunFolder(folder / run.folder), torch.device("cpu"), lambda *step: None)
    lines = (folder / run.folder / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line)["metrics"] for line in lines]
    return [(int(m["cost/steps"]), int(m["cost/images"])) for m in metrics]


@pytest.mark.parametrize("strategy", FOR_BATCHES)
def test_every_strategy_trains_on_what_there_is(
    strategy: str, tmp_path: Path, long_tailed: DataSet
) -> None:
    found = costs(tmp_path, strategy, SETTINGS, long_tailed, "training.epochs=2", "memory.size=10")
    if strategy.startswith("joint"):
        assert found == [(5, 160)]
    elif strategy == "icarl":
        # It forwards the first batch twice more; then 41 and 2 images join 6 and 8 exemplars.
        assert found == [(1, 3 * 5), (4, 15 + 3 * 32), (5, 15 + 96 + 13)]
    elif strategy not in AVALANCHES_LOADERS:
        # Ours draw with replacement.
        assert found == [(1, 32), (4, 128), (5, 160)]
    else:
        # The memory holds 5, then 10 images; fine-tuning has none.
        replays = strategy != "finetune"
        second, third = (16 + 5, 2 + 7) if replays else (32, 2)
        assert found[:2] == [(1, 5), (4, 5 + 3 * second)]
        assert found[2][0] == 5
        assert found[2][1] - found[1][1] in ((third, 2 + 8, 2 + 9, 2 + 10) if replays else (2,))


@pytest.mark.parametrize("strategy", FOR_ONLINE)
def test_online_a_lone_last_image_joins_the_batch_before(
    strategy: str, tmp_path: Path, long_tailed: DataSet
) -> None:
    found = costs(tmp_path, strategy, ONLINE, long_tailed, "memory.size=25")
    assert [steps for steps, _ in found] == ([3] if strategy.startswith("joint") else [1, 3, 4])
    assert found[-1][1] >= len(long_tailed.train)
    if strategy in ("finetune", "joint"):
        assert found[-1][1] == len(long_tailed.train)


@pytest.mark.parametrize(
    ("settings", "counts", "overrides", "message"),
    [
        (
            SETTINGS,
            [3, 2, 1],
            ["stream.experiences=3"],
            r"experience 2, counted from 0, has a single training image, and "
            r"slim_resnet18 cannot train on one alone .*set model.norm: group",
        ),
        (
            ONLINE,
            [3, 2, 2],
            ["stream.batch_size=1"],
            r"stream.batch_size is 1, and slim_resnet18 cannot train on one alone",
        ),
    ],
)
def test_a_batch_of_one_image_is_refused_where_it_cannot_be_trained_on(
    settings: str,
    counts: list[int],
    overrides: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "simo_cl.harness.checked_data.load_data", lambda *names: first_of_each(counts)
    )
    er = "strategies: {er: }\n"
    runs = planned(tmp_path, er, (*ENCODER, *overrides), settings=settings)
    with pytest.raises(SuiteError, match=message):
        checked_data(runs, None)
    runs = planned(tmp_path, er, (*ENCODER, *overrides, "model.norm=group"), settings=settings)
    checked_data(runs, None)
