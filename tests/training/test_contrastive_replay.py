from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from avalanche.evaluation.metrics import (
    accuracy_metrics,
    class_accuracy_metrics,
    confusion_matrix_metrics,
    loss_metrics,
    topk_acc_metrics,
)
from avalanche.training.plugins import EvaluationPlugin
from parts import NUM_FEATURES, Witness, classifier, embedding_model, quiet
from pytorch_metric_learning.losses import ProxyNCALoss, SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import DoNothingReducer
from torch import Tensor, nn

from simo_cl.losses import SimOLoss, simo_loss
from simo_cl.models import UNSEEN_CLASS_SCORE, EmbeddingModel
from simo_cl.streams.class_incremental import class_incremental
from simo_cl.training import BalancedReplayPlugin, ContrastiveReplay
from simo_cl.training.mined_loss import MinedLoss


def replay(
    model: EmbeddingModel | None = None, *, lr: float = 0.05, **options: Any
) -> ContrastiveReplay:
    model = embedding_model() if model is None else model
    batches = {"memory_size": 12, "batch_size": 16}
    for name in ("memory_size", "batch_size", "new_share", "views"):
        if name in options:
            batches[name] = options.pop(name)
    defaults = {
        "optimizer": torch.optim.SGD(model.parameters(), lr=lr),
        "loss": SimOLoss(),
        "replay": BalancedReplayPlugin(**batches),
        "eval_mb_size": 64,
        "evaluator": quiet(),
    }
    return ContrastiveReplay(model=model, **{**defaults, **options})


class TestBatches:
    def test_one_view(self, stream):
        seen = Witness("before_forward", lambda strategy: Counter(strategy.mb_y.tolist()))
        strategy = replay(plugins=[seen], new_share=0.25)
        for experience in stream.train_stream:
            strategy.train(experience)
        first, second, third = seen.seen[:3], seen.seen[3:15], seen.seen[15:]
        assert all(counts == {0: 8, 1: 8} for counts in first)
        assert all(counts == {0: 6, 1: 6, 2: 2, 3: 2} for counts in second)
        assert len(third) == 12
        for counts in third:
            assert counts == {0: 3, 1: 3, 2: 3, 3: 3, 4: 2, 5: 2}

    def test_two_views_are_augmented_independently(self, six_digits):
        stream = class_incremental(six_digits, experiences=3, seed=None, augment=["crop"])
        seen = Witness("before_forward", lambda s: (s.mb_x.clone(), s.mb_y.clone()))
        strategy = replay(plugins=[seen], views=2)
        for experience in stream.train_stream[:2]:
            strategy.train(experience)
        for images, labels in seen.seen:
            assert len(images) == 16
            assert torch.equal(labels[:8], labels[8:])
            assert not torch.equal(images[:8], images[8:])
        assert Counter(seen.seen[-1][1].tolist()) == {0: 4, 1: 4, 2: 4, 3: 4}

    def test_two_views_without_augmentation_are_the_same_images(self, stream):
        seen = Witness("before_forward", lambda s: s.mb_x.clone())
        replay(plugins=[seen], views=2).train(stream.train_stream[0])
        assert all(torch.equal(images[:8], images[8:]) for images in seen.seen)

    def test_every_image_of_a_batch_is_counted(self, stream):
        for views in (1, 2):
            strategy = replay(views=views, train_epochs=2)
            strategy.train(stream.train_stream[0])
            assert strategy.model.encoder.images_forwarded == strategy.clock.train_iterations * 16


class TestLoss:
    @pytest.mark.parametrize("views", [1, 2])
    @pytest.mark.parametrize(
        "loss",
        [
            pytest.param(SimOLoss(), id="simo"),
            pytest.param(simo_loss, id="function"),
            pytest.param(SupConLoss(temperature=0.1), id="supcon"),
            pytest.param(MinedLoss(TripletMarginLoss(margin=0.2), BatchHardMiner()), id="triplet"),
        ],
    )
    def test_learns_with_any_loss(self, stream, loss, views):
        torch.manual_seed(0)
        model = embedding_model(width=4)
        strategy = replay(
            model,
            optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
            loss=loss,
            views=views,
            memory_size=24,
            train_epochs=4 // views,
            evaluator=quiet(accuracy_metrics(stream=True)),
        )
        for experience in stream.train_stream[:2]:
            strategy.train(experience)
        results = strategy.eval(stream.test_stream[:2])
        assert results["Top1_Acc_Stream/eval_phase/test_stream/Task000"] > 0.6

    def test_is_given_embeddings_and_labels(self, stream):
        def by_hand(strategy: Any) -> tuple[Tensor, Tensor]:
            model = strategy.model
            embeddings = model.head(model.encoder(strategy.mb_x))
            return SimOLoss(epsilon=0.3)(embeddings, strategy.mb_y).detach(), strategy.loss.detach()

        seen = Witness("before_backward", by_hand)
        replay(loss=SimOLoss(epsilon=0.3), plugins=[seen]).train(stream.train_stream[0])
        for expected, loss in seen.seen:
            torch.testing.assert_close(loss, expected[None])

    @pytest.mark.parametrize(
        ("loss", "given"),
        [
            (lambda x, y: x.sum(dim=1), r"a tensor of shape \(16,\)"),
            (SupConLoss(reducer=DoNothingReducer()), r"\{'loss'"),
            (lambda x, y: None, "None"),
        ],
    )
    def test_anything_but_one_number_is_refused(self, stream, loss, given):
        with pytest.raises(ValueError, match=f"(?s)the loss gave {given}.*for a batch of 16"):
            replay(loss=loss).train(stream.train_stream[0])

    def test_gradients_are_clipped(self, stream):
        def norm(strategy: Any) -> float:
            gradients = [p.grad.flatten() for p in strategy.model.parameters()]
            return torch.cat(gradients).norm().item()

        norms = {}
        for limit in (None, 0.01):
            seen = Witness("before_update", norm)
            replay(clip_grad_norm=limit, plugins=[seen]).train(stream.train_stream[0])
            norms[limit] = seen.seen
        assert min(norms[None]) > 0.02
        assert norms[0.01] == pytest.approx([0.01] * 3, rel=1e-3)

    def test_parameters_of_the_loss_train_if_the_optimizer_has_them(self, stream):
        model, loss = embedding_model(), ProxyNCALoss(num_classes=6, embedding_size=8)
        before = loss.proxies.detach().clone()
        both = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
        replay(model, loss=loss, optimizer=both).train(stream.train_stream[0])
        assert not torch.equal(loss.proxies, before)
        with pytest.raises(
            ValueError, match=r"ProxyNCALoss has parameters.*\(proxies\); build the"
        ):
            replay(model, loss=loss)


class TestReadOut:
    @pytest.mark.parametrize("read_out", ["features", "embedding"])
    def test_class_means_come_from_the_memory(self, stream, read_out):
        strategy = replay(embedding_model(read_out=read_out))
        for count, experience in enumerate(stream.train_stream, start=1):
            strategy.train(experience)
            strategy.eval(stream.test_stream)
            memory = strategy.replay.memory_dataset
            assert {int(y) for y in memory.targets} == set(range(2 * count))
            assert strategy.model.has_mean.tolist() == [True] * 2 * count + [False] * (
                6 - 2 * count
            )
            torch.testing.assert_close(strategy.model.class_means, means_of(strategy.model, memory))

    def test_means_are_computed_without_augmentation(self, six_digits):
        stream = class_incremental(six_digits, experiences=3, seed=None, augment=["crop"])
        strategy = replay()
        strategy.train(stream.train_stream[0])
        means = []
        for _ in range(2):
            strategy._means_are_stale = True
            strategy.update_class_means()
            means.append(strategy.model.class_means)
        assert torch.equal(*means)

    def test_means_are_computed_once_until_something_changes(self, stream):
        strategy = replay()
        strategy.train(stream.train_stream[0])
        strategy.eval(stream.test_stream)
        means = strategy.model.class_means
        strategy.eval(stream.test_stream)
        assert strategy.model.class_means is means
        strategy.train(stream.train_stream[1])
        strategy.eval(stream.test_stream)
        assert strategy.model.class_means is not means

    def test_an_evaluation_inside_training_has_means_of_the_weights_it_evaluates(self, stream):
        """Of the old classes from the memory, of the current ones from the experience itself."""
        current = []

        def error(strategy: Any) -> tuple[list[bool], float]:
            model = strategy.model
            assert not model.training
            memory = strategy.replay.memory_dataset
            old = {int(y) for y in memory.targets} if len(memory) else set()
            expected = torch.zeros_like(model.class_means)
            if old:
                expected = means_of(model, memory)
            for c in (c for c in current if c not in old and model.has_mean[c]):
                dataset = stream.train_stream[c // 2].dataset
                rows = [i for i, y in enumerate(dataset.targets) if y == c]
                rows = rows[: 12 // len(old | set(current))]
                expected[c] = means_of(model, dataset.subset(rows))[c]
            return model.has_mean.tolist(), (model.class_means - expected).abs().max().item()

        seen = Witness("before_eval", error)
        strategy = replay(plugins=[seen], eval_every=1, train_epochs=2)
        for count, experience in enumerate(stream.train_stream[:2], start=1):
            current[:] = sorted(experience.classes_in_this_experience)
            seen.seen.clear()
            strategy.train(experience, eval_streams=[stream.test_stream])
            with_mean = [sum(has_mean) for has_mean, _ in seen.seen]
            # The first evaluation comes before the training on the experience.
            assert with_mean == [2 * count - 2, 2 * count, 2 * count]
            assert max(error for _, error in seen.seen) < 1e-5
        assert strategy.model.training

    def test_an_evaluation_inside_training_does_not_change_it(self, stream):
        weights = []
        for eval_every in (-1, 1):
            torch.manual_seed(0)
            strategy = replay(eval_every=eval_every, train_epochs=2)
            strategy.train(stream.train_stream[0], eval_streams=[stream.test_stream])
            weights.append(nn.utils.parameters_to_vector(strategy.model.parameters()))
        assert torch.equal(*weights)

    def test_unseen_classes_never_win_and_the_loss_is_finite(self, stream):
        outputs = Witness("after_eval_forward", lambda strategy: strategy.mb_output.clone())
        evaluator = quiet(accuracy_metrics(stream=True), loss_metrics(stream=True))
        strategy = replay(plugins=[outputs], evaluator=evaluator)
        results = strategy.eval(stream.test_stream)
        assert all((scores == UNSEEN_CLASS_SCORE).all() for scores in outputs.seen)
        assert math.isfinite(results["Loss_Stream/eval_phase/test_stream/Task000"])
        for count, experience in enumerate(stream.train_stream[:2], start=1):
            strategy.train(experience)
            outputs.seen.clear()
            results = strategy.eval(stream.test_stream)
            scores = torch.cat(outputs.seen)
            assert scores.isfinite().all()
            assert int(scores.argmax(dim=1).max()) < 2 * count
            assert math.isfinite(results["Loss_Stream/eval_phase/test_stream/Task000"])

    def test_samples_of_a_class_too_few_to_remember_are_an_error(self, stream):
        strategy = replay(memory_size=3)
        strategy.train(stream.train_stream[0])
        with pytest.raises(ValueError, match="memory_size is 3, but 4 classes have been seen"):
            strategy.train(stream.train_stream[1])


class TestEvaluator:
    @pytest.mark.parametrize(
        "metrics",
        [
            accuracy_metrics(minibatch=True),
            accuracy_metrics(epoch=True, stream=True),
            accuracy_metrics(epoch_running=True),
            class_accuracy_metrics(epoch=True),
            topk_acc_metrics(top_k=2, epoch=True),
        ],
        ids=lambda metrics: type(metrics[0]).__name__,
    )
    def test_training_accuracy_is_refused(self, metrics):
        with pytest.raises(
            ValueError, match=r"measures accuracy while training.*keep accuracy_metr"
        ):
            replay(evaluator=quiet(loss_metrics(epoch=True), metrics))

    def test_other_metrics_are_welcome(self, stream):
        evaluator = quiet(
            accuracy_metrics(experience=True, stream=True),
            loss_metrics(minibatch=True, epoch=True, stream=True),
            confusion_matrix_metrics(num_classes=6, save_image=False, stream=True),
        )
        strategy = replay(evaluator=evaluator)
        strategy.train(stream.train_stream[0])
        assert strategy.eval(stream.test_stream)

    def test_the_default_prints_accuracy_of_evaluations(self, stream, capsys):
        model = embedding_model()
        strategy = ContrastiveReplay(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            loss=SimOLoss(),
            replay=BalancedReplayPlugin(memory_size=12, batch_size=16),
        )
        strategy.train(stream.train_stream[0])
        strategy.eval(stream.test_stream)
        printed = capsys.readouterr().out
        assert "Top1_Acc_Stream" in printed
        assert "Loss_Epoch" in printed

    @pytest.mark.filterwarnings("ignore:No loggers specified")
    @pytest.mark.parametrize("evaluator", [None, lambda: EvaluationPlugin(loggers=[])])
    def test_none_or_a_function_that_makes_one(self, stream, evaluator):
        strategy = replay(evaluator=evaluator)
        strategy.train(stream.train_stream[0])
        assert isinstance(strategy.eval(stream.test_stream), dict)


def test_a_model_that_does_not_embed_is_refused():
    with pytest.raises(TypeError, match="model is a Classifier; ContrastiveReplay needs an Embedd"):
        replay(classifier())


def test_runs_without_a_device(stream):
    """Whole iterations, and the evaluation, never read the value of a tensor."""
    model = embedding_model(read_out="embedding").to("meta")
    strategy = replay(model, device="meta", views=2)
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
        strategy.eval(stream.test_stream)
    assert model.class_means.device.type == "meta"
    assert all(p.grad is not None for p in model.parameters())


@torch.no_grad()
def means_of(model: EmbeddingModel, dataset: Any) -> Tensor:
    """Sample by sample, from evaluation images."""
    was_training = model.training
    model.eval()
    points: dict[int, list[Tensor]] = {}
    for image, label, *_ in dataset.eval():
        features = model.encoder(image[None])
        point = features if model.read_out == "features" else model.head(features)
        points.setdefault(int(label), []).append(point[0] / point[0].norm())
    model.train(was_training)
    means = torch.zeros(6, NUM_FEATURES if model.read_out == "features" else 8)
    for label, members in points.items():
        means[label] = torch.stack(members).mean(dim=0)
    return means
