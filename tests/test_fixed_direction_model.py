from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from simo_cl.losses.fixed_directions import fixed_directions
from simo_cl.models import UNSEEN_CLASS_SCORE, build_encoder, projection_head
from simo_cl.models.fixed_direction_model import FixedDirectionModel


def model_of(directions: torch.Tensor) -> FixedDirectionModel:
    torch.manual_seed(0)
    encoder = build_encoder("small_cnn", channels=1, width=8)
    return FixedDirectionModel(encoder, projection_head("mlp", encoder.num_features, 6), directions)


def test_scores_are_by_the_directions_of_the_classes_seen() -> None:
    directions = fixed_directions("simplex", 5, 6, seed=0)
    model = model_of(directions)
    images = torch.randn(4, 1, 8, 8)
    embeddings = model(images)
    assert embeddings.shape == (4, 6)
    model.eval()
    # Points elsewhere, which would make other means.
    model.set_class_means(torch.randn(3, 6), torch.tensor([4, 1, 1]))
    scores = model(images)
    cosines = normalize(model.read_out_points(images), dim=1) @ directions.T
    seen, unseen = [1, 4], [0, 2, 3]
    torch.testing.assert_close(scores[:, seen], 2 * cosines[:, seen] - 2)
    assert (scores[:, unseen] == UNSEEN_CLASS_SCORE).all()


def test_the_directions_are_saved_with_the_model_and_do_not_train() -> None:
    directions, others = (fixed_directions("orthonormal", 5, 6, seed=seed) for seed in (0, 1))
    other, given = model_of(others), others.clone()
    other.load_state_dict(model_of(directions).state_dict())
    assert torch.equal(other.directions, directions)
    assert torch.equal(others, given)
    assert not any(parameter.shape == directions.shape for parameter in other.parameters())
    assert other.to("meta").directions.device.type == "meta"


def test_directions_of_another_dimension_are_refused() -> None:
    encoder = build_encoder("small_cnn", channels=1, width=8)
    with pytest.raises(ValueError, match="directions have 6 dimensions and embeddings 64"):
        FixedDirectionModel(encoder, nn.Identity(), fixed_directions("simplex", 5, 6, seed=0))
