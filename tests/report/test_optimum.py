from __future__ import annotations

import pytest

from simo_cl.report.optimum import best_cosine


@pytest.mark.parametrize(
    ("epsilon", "leaning", "cosine"),
    [(0.1, 0.0, 0.0), (0.1, 0.01, 0.26), (1 / 137, 0.01, 0.35), (0.1, 0.1, 0.52), (0.1, 1.0, 1.0)],
)
def test_leaning_moves_the_best_cosine_of_dissimilar_vectors(epsilon, leaning, cosine):
    assert best_cosine(epsilon, leaning) == pytest.approx(cosine, abs=0.005)


def test_the_best_cosine_is_a_minimum_of_the_loss_itself():
    from torch import tensor

    from simo_cl.losses import simo_loss

    cosine = best_cosine(0.1, 0.05)

    def dissimilar(c: float) -> float:
        pair = tensor([[1.0, 0.0], [c, (1 - c * c) ** 0.5]]).double()
        return float(simo_loss(pair, tensor([0, 1]), epsilon=0.1, leaning=0.05, weights=(0, 0, 1)))

    assert dissimilar(cosine) < min(dissimilar(cosine - 0.01), dissimilar(cosine + 0.01))
