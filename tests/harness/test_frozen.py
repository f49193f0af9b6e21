"""A frozen encoder, or one with a learning rate of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ONLINE, SETTINGS, outcome, part_of_digits, planned
from torch import Tensor, nn

from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.setup import Setup
from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.trial import interrupt
from simo_cl.models import Encoder, register_encoder
from simo_cl.results import RunFolder
from simo_cl.streams.class_incremental import class_incremental

FROZEN = ("model.freeze=true", "model.encoder=counting", "model.width=8", "training.augment=[]")


MADE: list[Counting] = []


class Counting(nn.Module):
    """A backbone that counts the images it is given."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.images = 0
        MADE.append(self)

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return self.layers(images).flatten(1)


@pytest.fixture(autouse=True)
def _counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("simo_cl.harness.execute_run.export_model", lambda *arguments: None)
    register_encoder("counting", lambda channels, width, norm: (Counting(channels, width), 32))
    yield
    MADE.clear()


def execute(run: PlannedRun, folder: Path, step: Any = lambda taken, total: None) -> None:
    execute_run(run, part_of_digits(), RunFolder(folder), torch.device("cpu"), step)


def numbers(folder: Path) -> dict[str, float]:
    return {
        name: value
        for name, value in RunFolder(folder).last_metrics().items()
        if not name.endswith("_seconds")
    }


@pytest.mark.parametrize(
    ("settings", "strategy", "seed"),
    # Seeds differ, so that no test finds another's features.
    [
        (SETTINGS, "finetune: ", 1),
        (SETTINGS, "simo: {distill: ird, views: 2}", 2),
        (ONLINE, "er: ", 3),
    ],
)
def test_features_that_are_kept_give_the_same_numbers(
    tmp_path: Path, settings: str, strategy: str, seed: int
) -> None:
    more = f"strategies: {{{strategy}}}\nseeds: [{seed}]\n"
    (run,) = planned(tmp_path, more, FROZEN, settings=settings)
    execute(run, tmp_path / "kept")
    (of_kept,) = MADE
    augments = replace(run.strategy_file, augments=True)
    execute(replace(run, strategy_file=augments), tmp_path / "again")

    data = part_of_digits()
    assert of_kept.images == len(data.train) + len(data.test)
    assert sum(backbone.images for backbone in MADE) > 2 * of_kept.images
    # Batches of other sizes sum in another order.
    assert numbers(tmp_path / "kept") == pytest.approx(
        numbers(tmp_path / "again"), rel=1e-3, abs=1e-3
    )


def test_the_second_run_of_a_seed_finds_the_features(tmp_path: Path) -> None:
    for run in planned(tmp_path, "strategies: {er: , finetune: }\nseeds: [4]\n", FROZEN):
        execute(run, tmp_path / run.label)

    first, second = MADE
    assert first.images
    assert second.images == 0


@pytest.mark.parametrize(
    ("strategy", "augment"), [("icarl", "[]"), ("er", "[crop]")], ids=["icarl", "augmented"]
)
def test_images_that_change_are_embedded_each_time(
    tmp_path: Path, strategy: str, augment: str
) -> None:
    overrides = (*FROZEN[:-1], f"training.augment={augment}")
    (run,) = planned(tmp_path, f"strategies: {{{strategy}: }}\n", overrides)
    execute(run, tmp_path / "run")

    data = part_of_digits()
    assert sum(backbone.images for backbone in MADE) > len(data.train) + len(data.test)


def test_a_run_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, "strategies: {simo: }\n", FROZEN)
    execute(run, tmp_path / "whole")
    assert interrupt(lambda step: execute(run, tmp_path / "stopped", step))
    execute(run, tmp_path / "stopped")

    assert outcome(tmp_path / "whole") == outcome(tmp_path / "stopped")


def test_a_frozen_encoder_does_not_learn() -> None:
    encoder = Encoder(Counting(1, 8), 32, "float32", frozen=True).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}

    features = encoder(torch.randn(4, 1, 8, 8))

    assert encoder.training
    assert not features.requires_grad
    assert encoder.images_forwarded == 4
    after = encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(encoder(features), features)


def test_an_encoder_that_learns_refuses_features() -> None:
    with pytest.raises(RuntimeError):
        Encoder(Counting(1, 8), 32, "float32")(torch.zeros(4, 32))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("strategy", ["er", "simo", "icarl", "der"])
def test_the_encoder_has_its_share_of_the_learning_rate(
    tmp_path: Path, strategy: str, optimizer: str
) -> None:
    overrides = (
        "model.lr_factor=0.1",
        f"training.optimizer={optimizer}",
        "training.schedule=constant",
    )
    (run,) = planned(tmp_path, f"strategies: {{{strategy}: {{lr: 0.1}}}}\n", overrides)
    data, settings = part_of_digits(), run.settings
    benchmark = class_incremental(data, experiences=2, class_order=range(10))
    setup = Setup(settings, data, torch.device("cpu"), [2, 2])
    trained = run.strategy_file.module.build(
        setup, run.strategy_file.settings(settings.settings, run.locations)
    )

    for experience in benchmark.train_stream:
        trained.train(experience, eval_streams=[])

    rest, encoders = trained.optimizer.param_groups
    inside = {p for m in trained.model.modules() if isinstance(m, Encoder) for p in m.parameters()}
    assert set(encoders["params"]) == inside
    assert {*rest["params"], *encoders["params"]} == set(trained.model.parameters())
    assert (rest["lr"], encoders["lr"]) == pytest.approx((0.1, 0.01))


def test_without_these_settings_a_run_is_the_same_as_before_there_were_any(
    tmp_path: Path,
) -> None:
    (plain,) = planned(tmp_path, "strategies: {er: }\n")
    (frozen,) = planned(tmp_path, "strategies: {er: }\n", ("model.freeze=true",))

    assert set(plain.config["model"]) == {"encoder", "width", "norm", "precision"}
    assert frozen.config["model"]["freeze"] is True
    assert frozen.digest != plain.digest


def test_two_settings_of_which_one_would_do_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="lr_factor would do nothing with freeze"):
        planned(tmp_path, "strategies: {er: }\n", ("model.freeze=true", "model.lr_factor=0.1"))


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, "strategies: {simo: {head: none}}\n", FROZEN)

    with pytest.raises(ValueError, match="no weights but the encoder's"):
        execute(run, tmp_path / "run")


def test_augmented_images_have_no_features_to_keep() -> None:
    with pytest.raises(ValueError, match="leave out either augment or encoder"):
        class_incremental(part_of_digits(), augment=["flip"], encoder=nn.Flatten())


def test_mir_which_differentiates_all_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="MIR takes the gradient of all weights"):
        planned(tmp_path, "strategies: {mir: }\n", FROZEN[:-1], settings=ONLINE)
