"""Data that change between two commands are refused: a table of both would be of neither."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from forked import execute_here, saved_often
from PIL import Image
from tiny import part_of_digits

from simo_cl.harness.execute_suite import write_plan
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.suite_file import read_suite
from simo_cl.results import DataRecord, RunFolder
from simo_cl.streams import DataError, DataSet, Images, load_data


def changed(data: DataSet) -> DataSet:
    """One grey level of one pixel is another."""
    images = data.train.images.clone()
    images[0, 0, 0, 0] += 1
    return dataclasses.replace(data, train=Images(images, data.train.labels), note="other digits")


def plan(folder: Path, runs: list[PlannedRun], data: DataSet) -> None:
    suite = read_suite(folder / "suite" / "tiny.yaml").suite
    write_plan(folder, suite, runs, command="", data=data)


def test_finished_runs_of_other_data_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    runs = saved_often(tmp_path, "finetune")
    data = part_of_digits()
    other = changed(data)
    plan(tmp_path, runs, data)
    execute_here(runs, tmp_path)
    before = (tmp_path / "plan.json").read_bytes()

    with pytest.raises(DataError) as refused:
        plan(tmp_path, runs, other)

    for part in (data.note, data.digest, other.note, other.digest, "--results"):
        assert part in str(refused.value)
    assert (tmp_path / "plan.json").read_bytes() == before
    plan(tmp_path, runs, data)


def test_nor_are_runs_that_would_go_on(tmp_path: Path) -> None:
    (run,) = runs = saved_often(tmp_path, "finetune")
    data = part_of_digits()
    folder = RunFolder(tmp_path / run.folder)
    folder.start(run.config, DataRecord.of(data), {})
    # Without a checkpoint it begins anew, and on what data is its own affair.
    plan(tmp_path, runs, changed(data))

    (folder.path / "checkpoint.pt").touch()
    with pytest.raises(DataError, match="is of other data"):
        plan(tmp_path, runs, changed(data))


def test_one_pixel_of_one_file_makes_other_data(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            place = tmp_path / "image_folder" / part / name
            place.mkdir(parents=True)
            Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(place / "0.png")
    before = load_data("image_folder", tmp_path).digest
    assert load_data("image_folder", tmp_path).digest == before

    image = np.full((8, 8, 3), 100, np.uint8)
    image[7, 7, 2] = 101
    Image.fromarray(image).save(tmp_path / "image_folder" / "train" / "dog" / "0.png")

    assert load_data("image_folder", tmp_path).digest != before
