from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from avalanche.training.regularization import ACECriterion
from avalanche.training.supervised import Naive
from parts import Witness, stock
from torch import Tensor
from torch.nn.functional import cross_entropy

from simo_cl.training import BalancedReplayPlugin, ClassBalancedMemory, OnlineReplayPlugin
from simo_cl.training.asymmetric_cross_entropy import AsymmetricCrossEntropy

NUM_CLASSES = 6


def loss_of(new_samples: int) -> AsymmetricCrossEntropy:
    replay = OnlineReplayPlugin(ClassBalancedMemory(24))
    replay.new_samples = new_samples
    return AsymmetricCrossEntropy(replay)


def random_scores(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return 3 * torch.randn(count, NUM_CLASSES, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("new", "memory"),
    [
        pytest.param([4, 5, 4, 5, 5], [0, 1, 2, 3, 0, 1], id="other classes in the memory"),
        pytest.param([4, 5, 4], [4, 5, 0, 0, 4], id="some of the new classes in the memory"),
        pytest.param([2, 2, 2], [0, 2, 1], id="one new class"),
        pytest.param([3], [3], id="one sample of each"),
        pytest.param([0, 1, 2, 3, 4, 5], [5, 4], id="all classes are new"),
    ],
)
def test_value_and_gradient_are_those_of_avalanches_criterion(
    new: list[int], memory: list[int]
) -> None:
    scores = random_scores(len(new) + len(memory)).requires_grad_()
    loss = loss_of(len(new))(scores, torch.tensor(new + memory))
    (gradient,) = torch.autograd.grad(loss, scores)
    expected = ACECriterion()(
        scores[: len(new)], torch.tensor(new), scores[len(new) :], torch.tensor(memory)
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, scores)[0])


def test_new_samples_do_not_push_other_classes_down() -> None:
    scores = random_scores(6).requires_grad_()
    loss_of(4)(scores, torch.tensor([4, 5, 4, 5, 0, 1])).backward()
    assert not scores.grad[:4, :4].any()
    assert scores.grad[:4, 4:].all()
    assert scores.grad[4:].all()


def test_without_gradients_it_is_the_ordinary_cross_entropy() -> None:
    scores, labels = random_scores(6), torch.tensor([4, 5, 4, 5, 0, 1])
    with torch.no_grad():
        assert torch.equal(loss_of(4)(scores, labels), cross_entropy(scores, labels))


def test_without_a_memory_it_is_the_ordinary_cross_entropy() -> None:
    scores, labels = random_scores(4), torch.tensor([4, 5, 4, 5])
    assert torch.equal(loss_of(4)(scores, labels), cross_entropy(scores, labels))


@pytest.mark.parametrize("gap", [100.0, 104.0, 1e4])
def test_confident_networks_have_finite_losses_and_gradients(gap: float) -> None:
    """Avalanche's criterion is NaN from 104 on, its gradients before that."""
    scores = torch.tensor([[gap, 0, 0], [0, gap, 0], [0, 0, gap]])
    right = loss_of(2)(scores.requires_grad_(), torch.tensor([0, 1, 2]))
    assert right.item() == 0.0
    torch.testing.assert_close(torch.autograd.grad(right, scores)[0], torch.zeros(3, 3))
    wrong = loss_of(2)(scores, torch.tensor([1, 0, 2]))
    assert wrong.item() == pytest.approx(gap / 2)
    expected = torch.tensor([[0.25, -0.25, 0], [-0.25, 0.25, 0], [0, 0, 0]])
    torch.testing.assert_close(torch.autograd.grad(wrong, scores)[0], expected)


def test_a_memory_without_current_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="give it replays_current=True"):
        AsymmetricCrossEntropy(BalancedReplayPlugin(24, 16))


def test_more_than_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="replay has 2 views; ER-ACE is for 1"):
        AsymmetricCrossEntropy(OnlineReplayPlugin(ClassBalancedMemory(24), views=2))


@pytest.mark.parametrize(
    ("make_replay", "batches"),
    [
        pytest.param(lambda: OnlineReplayPlugin(ClassBalancedMemory(24)), (5, 5), id="online"),
        pytest.param(
            lambda: BalancedReplayPlugin(24, 16, replays_current=True), (3, 6), id="batch"
        ),
    ],
)
def test_trains_on_the_batches_of_its_plugin_and_is_evaluated(
    make_replay: Callable[[], Any], batches: tuple[int, int], stream: Any
) -> None:
    replay = make_replay()
    seen = Witness(
        "before_backward",
        lambda s: (s.mb_output.detach(), s.mb_y, replay.new_samples, s.loss.detach()),
    )
    criterion = AsymmetricCrossEntropy(replay)
    strategy = stock(Naive, criterion=criterion, plugins=[replay, seen])
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    losses = Witness("after_eval_iteration", lambda s: (s.mb_output, s.mb_y, s.loss))
    strategy.plugins.append(losses)
    strategy.eval(stream.test_stream)
    assert len(seen.seen) == sum(batches)
    first, others = seen.seen[0], seen.seen[-batches[1] :]
    torch.testing.assert_close(first[3], cross_entropy(first[0], first[1])[None])
    in_memory: set[int] = set()
    for scores, labels, new, loss in others:
        expected = ACECriterion()(scores[:new], labels[:new], scores[new:], labels[new:])
        torch.testing.assert_close(loss, expected[None])
        assert set(labels[:new].tolist()) <= {2, 3}
        in_memory |= set(labels[new:].tolist())
    assert in_memory == {0, 1, 2, 3}
    assert len(losses.seen) == 3
    for scores, labels, loss in losses.seen:
        torch.testing.assert_close(loss, cross_entropy(scores, labels))
