"""A strategy that trains an embedding with any contrastive loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import concat_datasets
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import InteractiveLogger
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from simo_cl.models import EmbeddingModel, evaluating
from simo_cl.training.replay import Replay
from simo_cl.training.stock_plugins import refuse_unsuitable


def _default_evaluator() -> EvaluationPlugin:
    return EvaluationPlugin(
        accuracy_metrics(experience=True, stream=True),
        loss_metrics(epoch=True, experience=True, stream=True),
        loggers=[InteractiveLogger()],
    )


class ContrastiveReplay(SupervisedTemplate):
    """Contrastive learning on batches of current data and replay memory, read out by nearest class
    mean.

    Suites set ``torch.use_deterministic_algorithms(True)``. Without it, steps need not repeat bit
    for bit, not even on a CPU if it has several threads: the gradients of losses that gather pairs
    by index are then summed in any order.

    Before an evaluation the class means are computed anew from the memory (and, in the middle of an
    experience, from equally many samples of its classes) if weights or memory have changed since.

    Avalanche's plugins that ask for the gradient of the strategy's loss, as EWC's and A-GEM's do,
    get that of the contrastive loss; those that need class scores while it trains are refused.

    Args:
        model: gives embeddings in training and class scores in evaluation.
        optimizer: of the model's parameters, and of the loss's if it has some.
        loss: called as ``loss(embeddings, labels)``: :class:`simo_cl.SimOLoss`, any loss of
            pytorch-metric-learning, or your own.
        replay: makes the batches and keeps the memory: a :class:`simo_cl.BalancedReplayPlugin`, or
            a :class:`simo_cl.OnlineReplayPlugin` for one pass over small batches.
        clip_grad_norm: largest norm of the whole gradient; ``None`` leaves it alone.
        train_epochs, eval_mb_size, device, plugins, evaluator, eval_every: as in Avalanche's
            strategies, but for training-time accuracy, which the default evaluator leaves out.

    Raises:
        TypeError: a model that is no :class:`simo_cl.EmbeddingModel`.
        ValueError: training-time accuracy metrics in ``evaluator``; a model that embeds has no
            class scores while it trains. A plugin of Avalanche's that needs them, or replays
            batches of its own. A loss with parameters that the optimizer does not train.
            When training starts, a memory or batch that is too small for the classes, or a loss
            that gives anything but one number.

    Example:
        >>> from simo_cl.models import build_encoder, projection_head
        >>> encoder = build_encoder("small_cnn", channels=1, width=8)
        >>> model = EmbeddingModel(encoder, projection_head("linear", encoder.num_features, 16), 10)
        >>> strategy = ContrastiveReplay(
        ...     model=model,
        ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        ...     loss=SimOLoss(),
        ...     replay=BalancedReplayPlugin(memory_size=40, batch_size=32),
        ... )
    """

    def __init__(
        self,
        *,
        model: EmbeddingModel,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor],
        replay: Replay,
        clip_grad_norm: float | None = 1.0,
        train_epochs: int = 1,
        eval_mb_size: int = 128,
        device: str | torch.device = "cpu",
        plugins: Sequence[SupervisedPlugin] = (),
        evaluator: EvaluationPlugin | Callable[[], EvaluationPlugin] | None = _default_evaluator,
        eval_every: int = -1,
    ) -> None:
        if not isinstance(model, EmbeddingModel):
            raise TypeError(
                f"model is a {type(model).__name__}; ContrastiveReplay needs an EmbeddingModel, "
                "which gives embeddings in training and class scores in evaluation"
            )
        evaluator = evaluator() if callable(evaluator) else evaluator
        _refuse_training_accuracy(evaluator)
        _refuse_untrained_parameters(loss, optimizer)
        refuse_unsuitable(plugins, device)
        self.replay = replay
        self.contrastive_loss = loss
        self.clip_grad_norm = clip_grad_norm
        self._means_are_stale = True
        super().__init__(
            model=model,
            optimizer=optimizer,
            criterion=loss,
            train_mb_size=replay.batch_size,
            train_epochs=train_epochs,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=[replay, *plugins],
            evaluator=evaluator,
            eval_every=eval_every,
        )

    def criterion(self) -> Tensor:
        """The contrastive loss in training, cross-entropy of the class scores in evaluation."""
        if self.is_training:
            return _one_number(self.contrastive_loss(self.mb_output, self.mb_y), self.mb_y)
        return F.cross_entropy(self.mb_output, self.mb_y)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As Avalanche's strategies do.

        The model embeds throughout, so that plugins which put it into evaluation mode for a look at
        its gradients see those of the contrastive loss.
        """
        refuse_unsuitable(self.plugins, self.device)
        with self.model.embedding():
            return super().train(*args, **kwargs)

    def eval(self, *args: Any, **kwargs: Any) -> Any:
        """As Avalanche's strategies do, also in the middle of :meth:`train`."""
        with self.model.embedding(False):
            return super().eval(*args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """That of a loss that learns; model, optimizer and plugins have their own."""
        loss = self.contrastive_loss
        return {"loss": loss.state_dict() if isinstance(loss, nn.Module) else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if isinstance(self.contrastive_loss, nn.Module):
            self.contrastive_loss.load_state_dict(state["loss"])
        self._means_are_stale = True

    def update_class_means(self) -> None:
        """Computes the class means from the memory, if they are out of date."""
        if not self._means_are_stale:
            return
        sources = self._read_out_samples()
        if sources:
            points, labels = self._embed(sources)
            self.model.set_class_means(points, labels)
            self._means_are_stale = False

    def _before_training_iteration(self, **kwargs: Any) -> None:
        self._means_are_stale = True
        super()._before_training_iteration(**kwargs)

    def _before_forward(self, **kwargs: Any) -> None:
        # RWalk's plugin leaves the model in evaluation mode. Only then: parts of it that the user
        # keeps in evaluation mode, as frozen normalization layers, are to stay so.
        if not self.model.training:
            self.model.train()
        super()._before_forward(**kwargs)

    def _after_training_exp(self, **kwargs: Any) -> None:
        super()._after_training_exp(**kwargs)
        self._means_are_stale = True

    def _before_update(self, **kwargs: Any) -> None:
        if self.clip_grad_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm)
        super()._before_update(**kwargs)

    def _before_eval(self, **kwargs: Any) -> None:
        self.update_class_means()
        super()._before_eval(**kwargs)

    def _read_out_samples(self) -> list[Any]:
        memory = self.replay.memory_dataset
        sources = [memory] if len(memory) else []
        in_memory = {int(y) for y in memory.targets} if len(memory) else set()
        current = self.adapted_dataset
        if current is not None and not in_memory.issuperset(int(y) for y in current.targets):
            num_seen = len(in_memory | {int(y) for y in current.targets})
            sources.append(
                _first_of_each_class(current, max(1, self.replay.memory_size // num_seen))
            )
        return sources

    @torch.no_grad()
    def _embed(self, sources: list[Any]) -> tuple[Tensor, Tensor]:
        dataset = concat_datasets([source.eval() for source in sources])
        loader = DataLoader(
            dataset,
            batch_size=self.eval_mb_size,
            collate_fn=getattr(dataset, "collate_fn", None),
        )
        points, labels = [], []
        with evaluating(self.model):
            for images, targets, *_ in loader:
                points.append(self.model.read_out_points(images.to(self.device)))
                labels.append(targets.to(self.device))
        return torch.cat(points), torch.cat(labels)


def _one_number(value: Any, labels: Tensor) -> Tensor:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value
    given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r}"
    raise ValueError(
        f"the loss gave {given} for a batch of {len(labels)} samples; it must give one number, "
        "such as the mean over the batch: set its reduction (reduction='mean', or a reducer of "
        "pytorch-metric-learning), or wrap it"
    )


def _first_of_each_class(dataset: Any, samples_per_class: int) -> Any:
    labels = np.asarray([int(label) for label in dataset.targets])
    places = [np.flatnonzero(labels == c)[:samples_per_class] for c in np.unique(labels)]
    return dataset.subset(np.sort(np.concatenate(places)).tolist())


def _refuse_training_accuracy(evaluator: EvaluationPlugin | None) -> None:
    # Avalanche's training accuracies take an argmax over the model's output, which here would be
    # one over embedding dimensions: a number without meaning.
    for metric in evaluator.metrics if evaluator is not None else ():
        if "Accuracy" in type(metric).__name__ and getattr(metric, "_mode", "eval") == "train":
            raise ValueError(
                f"{metric} measures accuracy while training, but ContrastiveReplay's model gives "
                "embeddings then; keep accuracy_metrics(experience=True, stream=True) and drop "
                "minibatch=, epoch= and epoch_running="
            )


def _refuse_untrained_parameters(
    loss: Callable[[Tensor, Tensor], Tensor], optimizer: Optimizer
) -> None:
    if not isinstance(loss, nn.Module):
        return
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    untrained = [n for n, p in loss.named_parameters() if p.requires_grad and id(p) not in trained]
    if untrained:
        raise ValueError(
            f"{type(loss).__name__} has parameters that the optimizer does not train "
            f"({', '.join(untrained)}); build the optimizer from those of the model and of the loss"
        )
