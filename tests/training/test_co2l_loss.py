from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from parts import Witness, embedding_model, quiet

from simo_cl.losses.asymmetric_supcon import asymmetric_supcon
from simo_cl.training import (
    BalancedReplayPlugin,
    ClassBalancedMemory,
    ContrastiveReplay,
    OnlineReplayPlugin,
)
from simo_cl.training.co2l_loss import AsymmetricSupCon


@pytest.mark.parametrize(
    "make_replay",
    [
        pytest.param(lambda: BalancedReplayPlugin(24, 16, views=2), id="batch"),
        # Its memory has samples of the current classes, too.
        pytest.param(
            lambda: OnlineReplayPlugin(ClassBalancedMemory(24), memory_batch_size=12), id="online"
        ),
    ],
)
def test_the_current_experiences_samples_are_the_anchors(
    make_replay: Callable[[], Any], stream: Any
) -> None:
    replay = make_replay()
    seen = Witness(
        "before_backward", lambda s: (s.mb_output.detach(), s.mb_y, s.loss.detach(), s.experience)
    )
    model = embedding_model(width=8)
    strategy = ContrastiveReplay(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        loss=AsymmetricSupCon(replay, temperature=0.2),
        replay=replay,
        plugins=[seen],
        evaluator=quiet(),
    )
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    anchors = []
    for embeddings, labels, loss, experience in seen.seen:
        current = sorted(experience.classes_in_this_experience)
        is_current = torch.isin(labels, torch.tensor(current))
        expected = asymmetric_supcon(embeddings, labels, is_current, temperature=0.2)
        torch.testing.assert_close(loss, expected[None])
        anchors.append(is_current)
    assert anchors[0].all()
    assert 0 < anchors[-1].sum() < len(anchors[-1])


def test_runs_without_a_device(stream: Any) -> None:
    model = embedding_model(width=8).to("meta")
    replay = BalancedReplayPlugin(24, 16)
    strategy = ContrastiveReplay(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        loss=AsymmetricSupCon(replay),
        replay=replay,
        device="meta",
        evaluator=quiet(),
    )
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    assert all(p.grad is not None for p in model.parameters())


def test_a_temperature_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature is -1; it must be positive"):
        AsymmetricSupCon(BalancedReplayPlugin(24, 16), temperature=-1)
