from __future__ import annotations

import copy
import io
import math
import pickle
from typing import Any

import pytest
import torch
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.evaluation.metric_results import AlternativeValues
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.logging import TextLogger
from avalanche.training import JointTraining, LwF, Naive
from avalanche.training.plugins import EvaluationPlugin
from matplotlib.figure import Figure
from sklearn.metrics import accuracy_score
from torch import Tensor, nn

from simo_cl.metrics.continual import continual_metrics
from simo_cl.metrics.geometry import (
    centred,
    class_mean_cosines,
    class_mean_directions,
    drift,
    geometry_metrics,
    simo_similarity,
)
from simo_cl.metrics.plugins import continual_learning_metrics, orthogonality_metrics
from simo_cl.streams.class_incremental import class_incremental

ORDER = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


@pytest.fixture(scope="module")
def digits() -> Any:
    return class_incremental("digits", experiences=5, class_order=ORDER)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Flatten())
        self.classifier = nn.Linear(12 * 36, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.encoder(x))


def strategy_with(*metrics: Any, model: nn.Module | None = None, kind: type = Naive, **more: Any):
    torch.manual_seed(0)
    model = model or Net()
    log = io.StringIO()
    evaluator = EvaluationPlugin(*metrics, loggers=[TextLogger(log)])
    strategy = kind(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=64,
        eval_mb_size=100,
        evaluator=evaluator,
        **more,
    )
    strategy.log = log
    return strategy


def values_of(strategy: Any, name: str) -> list:
    return strategy.evaluator.get_all_metrics()[name][1]


def steps_of(strategy: Any, name: str) -> list[int]:
    return strategy.evaluator.get_all_metrics()[name][0]


def matrix(value: AlternativeValues) -> Tensor:
    return value.best_supported_value(Tensor)


@torch.no_grad()
def embedded(strategy: Any, stream: Any, classes: list[int], per_class: int) -> tuple:
    """Features and labels of the first samples of each class, straight from the data."""
    strategy.model.eval()
    x = torch.stack([x for e in stream for x, *_ in e.dataset])
    y = torch.tensor([int(y) for e in stream for _, y, *_ in e.dataset])
    keep = torch.cat([(y == c).nonzero().flatten()[:per_class] for c in classes])
    return strategy.model.encoder(x[keep]), y[keep]


class TestOrthogonalityMetrics:
    def test_equals_the_pure_functions(self, digits):
        strategy = strategy_with(orthogonality_metrics(samples_per_class=12, epsilon=0.05))
        learnt = {"features": torch.full((10, 432), math.nan)}
        learnt["features_centred"] = learnt["features"].clone()
        for t, experience in enumerate(digits.train_stream[:3]):
            strategy.train(experience)
            last = strategy.eval(digits.test_stream)
            seen = ORDER[: 2 * t + 2]
            features, labels = embedded(strategy, digits.test_stream, seen, 12)
            for space, points in (("features", features), ("features_centred", centred(features))):
                expected = geometry_metrics(points, labels, epsilon=0.05)
                now = class_mean_directions(points, labels, 10)
                if t:
                    expected["drift/class_mean"] = drift(now, learnt[space])
                    assert expected["drift/class_mean"] > 0
                learnt[space][seen[-2:]] = now[seen[-2:]]
                emitted = {
                    name.removeprefix(f"{space}/"): value
                    for name, value in last.items()
                    if name.startswith(f"{space}/") and isinstance(value, float)
                }
                assert emitted == pytest.approx(expected, abs=1e-4)
                cosines = matrix(last[f"{space}/class_mean_cos"])
                size = max(seen) + 1
                assert cosines.shape == (size, size)
                torch.testing.assert_close(
                    cosines,
                    class_mean_cosines(points, labels, size),
                    equal_nan=True,
                    atol=1e-4,
                    rtol=0,
                )
                similarity = matrix(last[f"{space}/simo_similarity"])
                torch.testing.assert_close(
                    similarity, simo_similarity(now[:size], 0.05), equal_nan=True, atol=1e-3, rtol=0
                )

    def test_once_per_evaluation_with_the_trained_experience_as_step(self, digits):
        strategy = strategy_with(orthogonality_metrics(samples_per_class=5))
        strategy.eval(digits.test_stream)
        assert "features/orthogonality/coherence" not in strategy.evaluator.get_all_metrics()
        for experience in digits.train_stream[:2]:
            strategy.train(experience)
            strategy.eval(digits.test_stream)
        assert steps_of(strategy, "features/orthogonality/coherence") == [0, 1]
        assert steps_of(strategy, "features/drift/class_mean") == [1]

    def test_matrices_are_figures_and_tensors_and_print_shortly(self, digits):
        strategy = strategy_with(orthogonality_metrics(samples_per_class=12))
        strategy.train(digits.train_stream[0])
        last = strategy.eval(digits.test_stream)
        for name, size in (("class_mean_cos", 4), ("simo_similarity_samples", 20)):
            value = last[f"features/{name}"]
            figure = value.best_supported_value(Figure, Tensor)
            assert isinstance(figure, Figure)
            figure.savefig(io.BytesIO())
            assert matrix(value).shape == (size, size)
        assert "features/class_mean_cos = 4 x 4 matrix" in strategy.log.getvalue()

    def test_a_named_layer_pooled(self, digits):
        metrics = [
            *orthogonality_metrics(layer="encoder.0", space="convolution"),
            *orthogonality_metrics(),
        ]
        strategy = strategy_with(metrics)
        strategy.train(digits.train_stream[0])
        last = strategy.eval(digits.test_stream)
        ranks = [
            last[f"{space}/collapse/effective_rank"]
            / last[f"{space}/collapse/effective_rank_share"]
            for space in ("convolution", "features")
        ]
        assert ranks == pytest.approx([12, min(432, len(labels_of_tests(digits, 1)))])

    def test_an_unknown_layer_is_an_error_before_the_training(self, digits):
        strategy = strategy_with(orthogonality_metrics(layer="backbone"))
        before = copy.deepcopy(strategy.model.state_dict())
        with pytest.raises(ValueError, match=r"no layer 'backbone'.*encoder.*classifier"):
            strategy.train(digits.train_stream[0])
        for name, value in strategy.model.state_dict().items():
            assert torch.equal(value, before[name])

    def test_a_layer_that_evaluation_skips_is_an_error(self, digits):
        class TwoHeads(Net):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x) if self.training else self.encoder(x)[:, :10]

        strategy = strategy_with(orthogonality_metrics(), model=TwoHeads())
        strategy.train(digits.train_stream[0])
        with pytest.raises(
            ValueError,
            match=r"not go through the input of the last nn\.Linear; name one with layer=",
        ):
            strategy.eval(digits.test_stream)

    def test_leaves_nothing_on_the_model(self, digits):
        """LwF copies the model; the metric itself can be copied and pickled as well."""
        (metric,) = orthogonality_metrics(samples_per_class=5)
        strategy = strategy_with(metric, kind=LwF, alpha=1, temperature=2)
        for experience in digits.train_stream[:2]:
            strategy.train(experience)
            strategy.eval(digits.test_stream)
        modules = list(strategy.model.modules())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
        assert pickle.loads(pickle.dumps(metric)).result() == metric.result()
        assert copy.deepcopy(metric).result() == metric.result()

    def test_does_not_change_the_training(self, digits):
        states = []
        for metrics in ([accuracy_metrics(stream=True)], [orthogonality_metrics()]):
            strategy = strategy_with(*metrics, *continual_learning_metrics())
            for experience in digits.train_stream[:2]:
                strategy.train(experience)
                strategy.eval(digits.test_stream)
            states.append(strategy.model.state_dict())
        for name, value in states[0].items():
            assert torch.equal(value, states[1][name])

    def test_broken_features_are_said_and_not_measured(self, digits):
        strategy = strategy_with(orthogonality_metrics())
        strategy.train(digits.train_stream[0])
        with torch.no_grad():
            strategy.model.encoder[0].weight.fill_(math.nan)
        with pytest.warns(UserWarning, match="NaN or infinite values after experience 0"):
            last = strategy.eval(digits.test_stream)
        assert not any(name.startswith("features") for name in last)

    def test_other_streams_are_kept_apart(self, digits):
        strategy = strategy_with(orthogonality_metrics(samples_per_class=10))
        for experience in digits.train_stream[:2]:
            strategy.train(experience)
            strategy.eval(digits.train_stream)
            last = strategy.eval(digits.test_stream)
        name = "features/drift/class_mean"
        assert last[name] != last[f"train/{name}"]
        assert last[name] == pytest.approx(last[f"train/{name}"], abs=0.1)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"samples_per_class": 1}, "samples_per_class must be at least 2, got 1"),
            ({"epsilon": 0}, "epsilon must be positive, got 0"),
        ],
    )
    def test_refuses(self, settings, message):
        with pytest.raises(ValueError, match=message):
            orthogonality_metrics(**settings)


class TestContinualLearningMetrics:
    def test_equals_the_pure_functions(self, digits):
        strategy = strategy_with(continual_learning_metrics(), train_epochs=3)
        rows = []
        for t, experience in enumerate(digits.train_stream):
            strategy.train(experience)
            last = strategy.eval(digits.test_stream)
            predictions = [predict(strategy, e) for e in digits.test_stream]
            rows.append([accuracy_score(y, p) for y, p in predictions])
            names = continual_metrics(rows)
            assert {n: last[n] for n in names} == pytest.approx(names)
            torch.testing.assert_close(
                matrix(last["accuracy_matrix"]), torch.tensor(rows, dtype=torch.double)
            )
            assert last["new_class_accuracy"] == pytest.approx(rows[-1][t])
            if t:
                y, p = (torch.cat(parts) for parts in zip(*predictions[:t], strict=True))
                assert last["old_class_accuracy"] == pytest.approx(accuracy_score(y, p))
            else:
                assert "old_class_accuracy" not in last
            for c in ORDER[: 2 * t + 2]:
                y, p = predictions[ORDER.index(c) // 2]
                assert last[f"class_accuracy/{c}"] == pytest.approx(
                    float((p[y == c] == c).float().mean())
                )
        assert last["forgetting"] > 0.1
        assert steps_of(strategy, "average_accuracy") == [0, 1, 2, 3, 4]
        assert steps_of(strategy, "forgetting") == [1, 2, 3, 4]
        confusion = matrix(last["confusion_matrix"])
        assert confusion.sum() == len(labels_of_tests(digits, 5))

    def test_agrees_with_avalanche(self, digits):
        """Over the whole stream; after the last experience, all experiences are seen."""
        strategy = strategy_with(
            continual_learning_metrics(), accuracy_metrics(experience=True, stream=True)
        )
        strategy.train(digits.train_stream)
        last = strategy.eval(digits.test_stream)
        theirs = [last[f"Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp{i:03d}"] for i in range(5)]
        assert matrix(last["accuracy_matrix"])[-1].tolist() == pytest.approx(theirs)
        assert last["average_accuracy"] == pytest.approx(sum(theirs) / 5)
        assert "forgetting" not in last

    def test_experiences_in_another_order(self, digits):
        strategy = strategy_with(continual_learning_metrics())
        for i in (2, 0):
            strategy.train(digits.train_stream[i])
            last = strategy.eval(digits.test_stream)
        A = matrix(last["accuracy_matrix"])
        accuracies = [accuracy_score(*predict(strategy, e)) for e in digits.test_stream]
        assert A[-1].tolist() == pytest.approx([accuracies[i] for i in (2, 0, 1, 3, 4)])
        assert last["average_accuracy"] == pytest.approx((accuracies[2] + accuracies[0]) / 2)

    def test_experiences_evaluated_one_by_one(self, digits):
        results = []
        for parts in ([digits.test_stream[:2]], list(digits.test_stream[:2])):
            strategy = strategy_with(continual_learning_metrics())
            for experience in digits.train_stream[:2]:
                strategy.train(experience)
                for part in parts:
                    last = strategy.eval(part)
            results.append(last)
        expected, last = results
        assert last["average_accuracy"] == pytest.approx(expected["average_accuracy"])
        assert last["forgetting"] == pytest.approx(expected["forgetting"])

    def test_evaluation_within_training_is_replaced_by_the_one_after(self, digits):
        strategy = strategy_with(continual_learning_metrics(), train_epochs=2, eval_every=1)
        for experience in digits.train_stream[:2]:
            strategy.train(experience, eval_streams=[digits.test_stream])
        steps = steps_of(strategy, "average_accuracy")
        assert set(steps) == {0, 1}
        A = matrix(values_of(strategy, "accuracy_matrix")[-1])
        now = [accuracy_score(*predict(strategy, e)) for e in digits.test_stream]
        assert A.shape == (2, 5)
        assert A[-1].tolist() == pytest.approx(now)

    def test_online_stream(self, digits):
        strategy = strategy_with(continual_learning_metrics(), orthogonality_metrics())
        for experience in digits.train_stream[:2]:
            pieces = split_online_stream([experience], experience_size=64)
            strategy.train(pieces, eval_streams=[])
            last = strategy.eval(digits.test_stream)
        assert steps_of(strategy, "average_accuracy") == [0, 1]
        assert matrix(last["accuracy_matrix"]).shape == (2, 5)
        assert "forgetting" in last
        assert "features/drift/class_mean" in last

    @pytest.mark.parametrize("stock", [True, False])
    def test_joint_training(self, digits, stock):
        if stock:
            stream, kind = digits.train_stream, JointTraining
        else:
            together = class_incremental("digits", class_order=ORDER, joint=True)
            stream, kind = together.train_stream, Naive
        strategy = strategy_with(
            continual_learning_metrics(), orthogonality_metrics(), kind=kind, train_epochs=2
        )
        strategy.train(stream)
        last = strategy.eval(digits.test_stream)
        accuracies = [accuracy_score(*predict(strategy, e)) for e in digits.test_stream]
        assert last["average_accuracy"] == pytest.approx(sum(accuracies) / 5)
        assert matrix(last["accuracy_matrix"]).shape == (1, 5)
        assert matrix(last["features/class_mean_cos"]).isfinite().all()
        for name in ("forgetting", "learning_accuracy", "new_class_accuracy"):
            assert name not in last
        assert "features/drift/class_mean" not in last

    def test_other_streams_are_kept_apart(self, digits):
        strategy = strategy_with(continual_learning_metrics())
        strategy.train(digits.train_stream[0])
        strategy.eval(digits.test_stream)
        last = strategy.eval(digits.train_stream)
        for stream, prefix in ((digits.test_stream, ""), (digits.train_stream, "train/")):
            expected = accuracy_score(*predict(strategy, stream[0]))
            assert last[f"{prefix}average_accuracy"] == pytest.approx(expected)

    def test_refuses_outputs_that_are_no_scores(self, digits):
        class Images(Net):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x) if self.training else super().forward(x)[:, :, None]

        strategy = strategy_with(continual_learning_metrics(), model=Images())
        strategy._criterion = lambda output, y: output.sum()
        strategy.train(digits.train_stream[0])
        with pytest.raises(ValueError, match=r"needs class scores.*gave \(.*, 10, 1\)"):
            strategy.eval(digits.test_stream)


def labels_of_tests(digits: Any, experiences: int) -> list[int]:
    return [int(y) for e in digits.test_stream[:experiences] for y in e.dataset.targets]


@torch.no_grad()
def predict(strategy: Any, experience: Any) -> tuple[Tensor, Tensor]:
    strategy.model.eval()
    x = torch.stack([x for x, *_ in experience.dataset.eval()])
    y = torch.tensor([int(y) for y in experience.dataset.targets])
    return y, strategy.model(x).argmax(dim=1)
