"""A whitening layer knows the first experience's training images, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ONLINE, SETTINGS, Interrupted, entries, part_of_digits, planned

from simo_cl.harness.execute_run import execute_run, first_rows, make_benchmark
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.setup import Setup
from simo_cl.models import Encoder, PatchWhitening
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet, Images
from simo_cl.streams.augmentation import evaluation_transform

AIRNET = ("model.encoder=airnet", "model.width=8")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> DataSet:
    """Digits of twice the size, as airnet takes them no smaller than 9 x 9."""
    digits = part_of_digits()

    def enlarged(images: Images) -> Images:
        pixels = images.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return Images(pixels, images.labels)

    train, test = enlarged(digits.train), enlarged(digits.test)
    return DataSet("digits", train, test, digits.class_names, "large digits")


def run_of(
    folder: Path, strategy: str, *overrides: str, seed: int = 0, settings: str = SETTINGS
) -> PlannedRun:
    more = entries(strategy) + f"seeds: [{seed}]\ncheckpoint_minutes: 0\n"
    (run,) = planned(folder / "suite", more, (*AIRNET, *overrides), settings=settings)
    return run


def setup_of(run: PlannedRun, data: DataSet) -> Setup:
    settings = run.settings
    benchmark = make_benchmark(data, settings, run.joint, CPU)
    return Setup(settings, data, CPU, [1, 1], first_rows=first_rows(benchmark))


def filters(model: torch.nn.Module) -> torch.Tensor:
    (layer,) = (m for m in model.modules() if isinstance(m, PatchWhitening))
    return layer.filters


def whitened_by(data: DataSet, rows: torch.Tensor) -> torch.Tensor:
    layer = PatchWhitening(1)
    layer.fit([evaluation_transform(data)(data.train.images[rows])])
    return layer.filters


@pytest.mark.parametrize("order", ["natural", "[9, 1, 5, 0, 2, 3, 4, 6, 7, 8]"])
@pytest.mark.parametrize("strategy", ["er", "simo", "joint", "joint_simo"])
def test_filters_come_from_the_first_experiences_classes(
    strategy: str, order: str, tmp_path: Path, data: DataSet
) -> None:
    run = run_of(tmp_path, strategy, f"stream.class_order={order}")
    first = [0, 1, 2, 3, 4] if order == "natural" else [9, 1, 5, 0, 2]
    rows = torch.isin(data.train.labels, torch.tensor(first)).nonzero().flatten()
    expected = whitened_by(data, rows)
    torch.testing.assert_close(filters(setup_of(run, data).encoder()), expected)
    torch.testing.assert_close(filters(setup_of(run, data).classifier()), expected)
    assert not torch.allclose(expected, whitened_by(data, torch.arange(len(data.train))))


def test_strategies_of_a_seed_have_the_same_filters(tmp_path: Path, data: DataSet) -> None:
    share = ("stream.class_order=seeded", "stream.validation=0.3")
    of_seed = [
        filters(setup_of(run_of(tmp_path, strategy, *share, seed=1, settings=text), data).encoder())
        for strategy, text in (("er", SETTINGS), ("joint", SETTINGS), ("simo", ONLINE))
    ]
    other = filters(setup_of(run_of(tmp_path, "er", *share, seed=2), data).encoder())
    assert torch.equal(of_seed[0], of_seed[1])
    assert torch.equal(of_seed[0], of_seed[2])
    assert not torch.allclose(of_seed[0], other)


def test_images_that_are_held_out_are_not_looked_at(tmp_path: Path, data: DataSet) -> None:
    run = run_of(tmp_path, "er", "stream.validation=0.3")
    rows = setup_of(run, data).first_rows
    in_first = torch.isin(data.train.labels, torch.arange(5)).sum()
    assert len(rows) == pytest.approx(0.7 * in_first, abs=5)


def test_many_images_are_read_evenly_spread_and_a_batch_at_a_time(
    tmp_path: Path, data: DataSet
) -> None:
    run = run_of(tmp_path, "er")
    rows = torch.arange(len(data.train)).repeat(10)
    setup = Setup(run.settings, data, CPU, [1], first_rows=rows)
    batches = list(setup._first_images())
    assert [len(batch) for batch in batches] == [250] * 8
    expected = torch.tensor([rows[i * len(rows) // 2000] for i in range(2000)])
    assert torch.equal(torch.cat(batches), evaluation_transform(data)(data.train.images[expected]))


def test_a_setup_without_them_is_refused(tmp_path: Path, data: DataSet) -> None:
    setup = Setup(run_of(tmp_path, "er").settings, data, CPU, [1])
    with pytest.raises(ValueError, match=r"'airnet' whitens .* give their rows .* as first_rows"):
        setup.encoder()


def test_a_run_keeps_them_in_its_checkpoint_and_in_its_exported_model(
    tmp_path: Path, data: DataSet, monkeypatch: Any
) -> None:
    run = run_of(tmp_path, "er_balanced")

    def execute(stop_after: int | None = None) -> None:
        def step(taken: int, total: int) -> None:
            if taken == stop_after:
                raise Interrupted

        execute_run(run, data, RunFolder(tmp_path / run.folder), CPU, step)

    with pytest.raises(Interrupted):
        execute(stop_after=3)
    # The checkpoint's count, whatever the encoder is built with when the run goes on.
    monkeypatch.setattr(Encoder, "fit_whitening", lambda encoder, batches: None)
    execute()

    program = torch.export.load(tmp_path / run.folder / "model.pt2")
    exported = [value for value in program.state_dict.values() if value.shape == (8, 1, 2, 2)]
    rows = torch.isin(data.train.labels, torch.arange(5)).nonzero().flatten()
    torch.testing.assert_close(exported, [whitened_by(data, rows)])
    example = np.load(tmp_path / run.folder / "model_example.npz")
    points = program.module()(torch.from_numpy(example["images"]))
    torch.testing.assert_close(points["features"], torch.from_numpy(example["features"]))
