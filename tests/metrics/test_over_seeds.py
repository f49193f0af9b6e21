from __future__ import annotations

import numpy as np
import pytest

from simo_cl.metrics.over_seeds import mean_array, mean_metrics, spread


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), "0.5"])
def test_there_is_no_mean_unless_every_seed_has_a_finite_number(missing: object) -> None:
    assert spread([0.5, missing]) is None
    assert spread([missing]) is None
    assert mean_metrics([{"a": 0.5, "b": 1.0}, {"a": 0.7, "b": missing}]).keys() == {"a"}


def test_a_metric_is_none_of_some_seeds_whichever_comes_first() -> None:
    whole, part = {"a": 0.5, "b": 1.0}, {"a": 0.7}

    assert mean_metrics([whole, part]).keys() == mean_metrics([part, whole]).keys() == {"a"}
    assert mean_metrics([whole, part])["a"].mean == pytest.approx(0.6)
    assert mean_metrics([]) == {}


def test_arrays_of_different_seeds_must_all_be_there_in_one_shape() -> None:
    ones, zeros = np.ones((2, 2)), np.zeros((2, 2))

    mean = mean_array([ones, zeros])
    assert mean is not None
    assert mean.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert mean_array([ones, None]) is None
    assert mean_array([ones, np.ones(2)]) is None
    assert mean_array([]) is None
