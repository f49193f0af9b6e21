"""Instance-wise relation distillation from the model before the experience, in any strategy that
trains an embedding."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin

from simo_cl.losses.arguments import check_not_negative, check_positive
from simo_cl.losses.relation_distillation import relation_distillation
from simo_cl.models import EmbeddingModel


class RelationDistillation(SupervisedPlugin):
    """Adds ``weight`` times :func:`simo_cl.losses.relation_distillation.relation_distillation`.

    From the strategy's second ``train`` call on, all samples of a batch are embedded by a copy of
    the model as it was before that call, too. The copy is in evaluation mode: what is distilled is
    one fixed function of an image, as in Cha et al., Co2L, ICCV 2021, where batch normalization in
    training mode would make it another one for every batch. (In their code the copy stays in
    training mode, with running statistics that go on moving.) Its forward passes are not among the
    images that encoders count.

    Args:
        weight: of the added term, 0 or more.
        temperature, past_temperature: as there.

    Attributes:
        past: the copy, or ``None`` in the first experience.

    Raises:
        ValueError: a negative weight, or a temperature that is not positive.
        TypeError: when training starts, a model that is no :class:`simo_cl.EmbeddingModel`.

    Example:
        >>> plugins = [RelationDistillation(weight=0.5)]  # of ContrastiveReplay
    """

    def __init__(
        self, weight: float = 1.0, *, temperature: float = 0.2, past_temperature: float = 0.01
    ) -> None:
        super().__init__()
        check_not_negative(weight=weight)
        check_positive(temperature=temperature, past_temperature=past_temperature)
        self.weight = weight
        self.temperature = temperature
        self.past_temperature = past_temperature
        self.past: EmbeddingModel | None = None

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        if not isinstance(strategy.model, EmbeddingModel):
            raise TypeError(
                f"the strategy's model is a {type(strategy.model).__name__}; RelationDistillation "
                "compares embeddings and needs an EmbeddingModel, as ContrastiveReplay has"
            )
        if strategy.clock.train_exp_counter > 0:
            self.keep(strategy.model)

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        if self.past is None or self.weight == 0:
            return
        with torch.no_grad(), self.past.embedding():
            past = self.past(strategy.mb_x)
        strategy.loss += self.weight * relation_distillation(
            strategy.mb_output,
            past,
            temperature=self.temperature,
            past_temperature=self.past_temperature,
        )

    def keep(self, model: EmbeddingModel) -> EmbeddingModel:
        """Distils from now on from a frozen copy of this model, and returns the copy."""
        self.past = deepcopy(model).eval().requires_grad_(False)
        return self.past
