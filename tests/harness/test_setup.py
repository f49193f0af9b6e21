from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import planned

from simo_cl.harness.environment import choose_device, describe_environment
from simo_cl.harness.precision import instruction_set
from simo_cl.harness.setup import Setup
from simo_cl.streams import load_data


@pytest.fixture
def setup_with(tmp_path: Path) -> Any:
    """A setup of the tiny suite with some settings changed."""

    def make(*overrides: str, seed: int = 0) -> Setup:
        more = f"strategies: {{er: }}\nseeds: [{seed}]\n"
        (run,) = planned(tmp_path, more, overrides)
        return Setup(run.settings, load_data("digits"), torch.device("cpu"), [3, 3])

    return make


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_model_of_a_seed_has_the_same_encoder(setup_with: Any) -> None:
    setup = setup_with()
    torch.manual_seed(1)
    first = weights(setup.classifier().encoder)
    torch.manual_seed(2)
    embedding = setup.embedding_model("mlp", 16)

    assert torch.equal(first, weights(embedding.encoder))
    assert torch.equal(first, weights(setup.encoder()))
    assert not torch.equal(first, weights(setup_with(seed=1).encoder()))


def test_the_encoder_leaves_the_global_generator_alone(setup_with: Any) -> None:
    before = torch.random.get_rng_state()
    setup_with().encoder()

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("share", "new", "memory"), [(0.5, 16, 16), (0.25, 8, 24), (0.9, 29, 3)])
def test_a_batch_is_divided_by_the_new_share(
    setup_with: Any, share: float, new: int, memory: int
) -> None:
    setup = setup_with(f"training.new_share={share}")

    assert (setup.new_batch_size, setup.memory_batch_size) == (new, memory)
    assert setup.separate_memory_batches == (32, new)


def test_the_optimizer_is_the_suite_s(setup_with: Any) -> None:
    model = torch.nn.Linear(2, 2)
    adamw = setup_with().optimizer(model, 0.1)
    sgd = setup_with(
        "training.optimizer=sgd", "training.momentum=0.5", "training.weight_decay=0.25"
    ).optimizer(model, 0.2)

    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["lr"] == 0.1
    assert adamw.defaults["weight_decay"] == 5e-4
    assert isinstance(sgd, torch.optim.SGD)
    assert {name: sgd.defaults[name] for name in ("lr", "momentum", "weight_decay")} == {
        "lr": 0.2,
        "momentum": 0.5,
        "weight_decay": 0.25,
    }


def test_black_is_what_a_black_pixel_becomes(setup_with: Any) -> None:
    setup = setup_with()

    assert setup.black == [-setup.data.mean[0] / setup.data.std[0]]


def test_the_budget_has_the_steps_and_the_schedule(setup_with: Any) -> None:
    budget = setup_with("training.schedule=constant").budget()

    assert budget.steps == [3, 3]
    assert budget.schedule == "constant"
    assert math.isnan(budget.mean_loss)


def test_a_device_is_chosen_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="device 'gpu' is none that runs are for; use auto"):
        choose_device("gpu")
    with pytest.raises(ValueError, match=r"device 'cuda:99' cannot be used here: .*use auto"):
        choose_device("cuda:99")


def test_the_environment_has_what_a_report_shows() -> None:
    environment = describe_environment(torch.device("cpu"), threads=3)

    for name in ("simo_cl", "python", "torch", "avalanche", "platform", "cpu"):
        assert isinstance(environment[name], str)
        assert environment[name]
    assert environment["threads"] == 3
    assert environment["device"] == "cpu"
    assert environment["gpu"] is None
    assert environment["cores"] >= 1
    assert environment["instruction_set"] == instruction_set()
