"""The two ways to say how long a run trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import SETTINGS, planned, write_suite

from simo_cl.harness.settings import TrainingSettings
from simo_cl.harness.suite_file import SuiteError, read_suite

NEW_EPOCHS = SETTINGS.replace("epochs: 0.2", "new_epochs: 3")
ER = "strategies: {er: }\n"


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"epochs": 3}, 235),  # of 128 images each, three times 10,000
        ({"new_epochs": 3}, 469),  # of 64 new images each
        ({"new_epochs": 3, "new_share": 0.25}, 938),  # of 32
        ({"new_epochs": 1e-6}, 1),
    ],
)
def test_steps_of_an_experience(given: dict[str, float], steps: int) -> None:
    assert TrainingSettings(batch_size=128, **given).steps(10_000) == steps


def test_a_run_s_settings_have_the_one_that_was_given(tmp_path: Path) -> None:
    (by_all,) = planned(tmp_path, ER)
    (by_new,) = planned(tmp_path, ER, settings=NEW_EPOCHS)

    assert by_all.config["training"]["epochs"] == 0.2
    assert "new_epochs" not in by_all.config["training"]
    assert by_new.config["training"]["new_epochs"] == 3.0
    assert "epochs" not in by_new.config["training"]
    assert by_new.settings.training.steps(320) == 60


@pytest.mark.parametrize(
    ("text", "overrides", "place"),
    [
        (NEW_EPOCHS.replace("new_epochs: 3", "new_epochs: 3\n  epochs: 1") + ER, [], "tiny.yaml:7"),
        (
            NEW_EPOCHS + ER,
            ["training.epochs=1", "training.new_epochs=2"],
            "--set training.epochs=1",
        ),
    ],
)
def test_both_at_once_are_refused(
    tmp_path: Path, text: str, overrides: list[str], place: str
) -> None:
    path = write_suite(tmp_path, text)

    with pytest.raises(SuiteError) as caught:
        read_suite(path, overrides)

    assert place in str(caught.value)
    assert "epochs counts all images, new_epochs new ones; leave the other out" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "override", "set_now", "not_set"),
    [
        (NEW_EPOCHS, "training.epochs=1", "epochs", "new_epochs"),
        (SETTINGS, " training.new_epochs = 1", "new_epochs", "epochs"),
        (SETTINGS, "training.epochs=1", "epochs", "new_epochs"),
    ],
)
def test_one_of_the_command_takes_the_place_of_the_file_s(
    tmp_path: Path, settings: str, override: str, set_now: str, not_set: str
) -> None:
    (run,) = planned(tmp_path, ER, (override,), settings=settings)

    assert run.config["training"][set_now] == 1
    assert not_set not in run.config["training"]


def test_a_grid_of_one_replaces_the_default_of_the_other(tmp_path: Path) -> None:
    neither = SETTINGS.replace("  epochs: 0.2\n", "")
    grid = "grid: {training.new_epochs: [1, 2]}\n"

    runs = planned(tmp_path, ER + grid, settings=neither)

    assert [run.config["training"]["new_epochs"] for run in runs] == [1.0, 2.0]
    assert all("epochs" not in run.config["training"] for run in runs)
    assert planned(tmp_path, ER, settings=neither)[0].config["training"]["epochs"] == 1.0


def test_one_in_the_suite_and_one_in_the_grid_are_refused(tmp_path: Path) -> None:
    by_all = "grid: {training.epochs: [1, 2]}\n"
    by_new = "grid: {training.new_epochs: [1, 2]}\n"

    with pytest.raises(SuiteError, match=r"training\.epochs is one of two ways to say the budget"):
        planned(tmp_path, ER + by_all, settings=NEW_EPOCHS)
    with pytest.raises(SuiteError, match=r"training\.epochs is one of two ways to say the budget"):
        planned(tmp_path, ER + by_new)
