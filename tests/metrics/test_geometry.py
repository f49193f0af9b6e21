from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simo_cl.metrics.bounds import coherence_bound, welch_bound
from simo_cl.metrics.geometry import (
    centred,
    class_mean_cosines,
    class_mean_directions,
    drift,
    geometry_metrics,
    knn_purity,
    simo_similarity,
)


def sample(seed: int, sizes: list[int], dimension: int, offset: float = 0.0) -> tuple:
    """Embeddings of classes of the given sizes, in random order, with class numbers apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((n,), 3 * c + 1) for c, n in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = torch.randn(3 * len(sizes) + 1, dimension, generator=generator)
    noise = torch.randn(len(labels), dimension, generator=generator)
    return (centres[labels] + noise + offset).double(), labels


def slow_metrics(embeddings: torch.Tensor, labels: torch.Tensor, epsilon: float) -> dict:
    """The definitions, one pair at a time."""
    x = [row / np.linalg.norm(row) for row in embeddings.double().numpy()]
    y = labels.tolist()
    out = {name: [] for name in ("d_in", "d_out", "o_in", "o_out", "anti", "s_in", "s_out")}
    for i, j in itertools.combinations(range(len(x)), 2):
        d, o = float(np.sum((x[i] - x[j]) ** 2)), float(np.dot(x[i], x[j])) ** 2
        side = "in" if y[i] == y[j] else "out"
        out[f"d_{side}"].append(d)
        out[f"o_{side}"].append(o)
        out[f"s_{side}"].append(epsilon * o / (epsilon + d))
        if y[i] == y[j]:
            out["anti"].append(float(np.dot(x[i], x[j])) < 0)
    metrics = {
        "neighbourhood/d_within": out["d_in"],
        "neighbourhood/d_between": out["d_out"],
        "orthogonality/o_within": out["o_in"],
        "orthogonality/o_between": out["o_out"],
        "neighbourhood/antipodal_share": out["anti"],
        "simo/similarity_within": out["s_in"],
        "simo/similarity_between": out["s_out"],
        "neighbourhood/knn_purity": slow_purities(x, y),
    }
    metrics = {name: float(np.mean(values)) for name, values in metrics.items() if values}
    if out["d_in"] and out["d_out"]:
        metrics["neighbourhood/ratio"] = np.mean(out["d_in"]) / np.mean(out["d_out"])
    return metrics | slow_means(x, y) | slow_subspaces(x, y) | slow_collapse(np.stack(x))


def slow_purities(x: list, y: list) -> list[float]:
    purities = []
    for i in range(len(x)):
        others = sorted((j for j in range(len(x)) if j != i), key=lambda j: -np.dot(x[i], x[j]))
        nearest = others[:10]
        if nearest:
            purities.append(float(np.mean([y[j] == y[i] for j in nearest])))
    return purities


def slow_means(x: list, y: list) -> dict:
    means = [np.mean([x[i] for i in range(len(x)) if y[i] == c], axis=0) for c in sorted(set(y))]
    u = [m / np.linalg.norm(m) for m in means if np.linalg.norm(m) > 1e-9]
    cosines = [abs(float(np.dot(a, b))) for a, b in itertools.combinations(u, 2)]
    if not cosines:
        return {}
    num_classes, d = len(u), len(u[0])
    rms = math.sqrt(np.mean(np.square(cosines)))
    welch = math.sqrt(max(num_classes - d, 0) / (d * (num_classes - 1)))
    bound = max(
        welch,
        1 / math.sqrt(d) if num_classes > d * (d + 1) / 2 else 0,
        math.cos(math.pi / num_classes) if d == 2 else 0,
    )
    return {
        "orthogonality/mean_abs_cos": float(np.mean(cosines)),
        "orthogonality/rms_cos": rms,
        "orthogonality/coherence": max(cosines),
        "orthogonality/bound_gap": max(cosines) - bound,
        "orthogonality/rms_gap": rms - welch,
    }


def slow_subspaces(x: list, y: list) -> dict:
    d = len(x[0])
    overlaps, chances = [], []
    for a, b in itertools.combinations(sorted(set(y)), 2):
        groups = [np.stack([x[i] for i in range(len(x)) if y[i] == c]) for c in (a, b)]
        r = min(4, len(groups[0]), len(groups[1]), d - 1)
        if r:
            u_a, u_b = (np.linalg.svd(group)[2][:r] for group in groups)
            overlaps.append(np.sum((u_a @ u_b.T) ** 2) / r)
            chances.append(r / d)
    if not overlaps:
        return {}
    overlap, chance = float(np.mean(overlaps)), float(np.mean(chances))
    return {
        "neighbourhood/subspace_overlap": overlap,
        "neighbourhood/subspace_overlap_chance": chance,
        "neighbourhood/subspace_overlap_normalized": (overlap - chance) / (1 - chance),
    }


def slow_collapse(x: np.ndarray) -> dict:
    s = np.linalg.svd(x)[1]
    p = [value / s.sum() for value in s]
    rank = math.exp(-sum(value * math.log(value) for value in p if value > 0))
    ratio = float(np.sum(s**2) ** 2 / np.sum(s**4))
    return {
        "collapse/effective_rank": rank,
        "collapse/effective_rank_share": rank / min(x.shape),
        "collapse/participation_ratio": ratio,
        "collapse/participation_ratio_share": ratio / min(x.shape),
    }


class TestAgainstDoubleLoop:
    @pytest.mark.parametrize(
        ("sizes", "dimension"),
        [
            ([20, 20, 20], 16),
            ([30, 3, 1, 12], 5),
            ([6, 6, 6, 6, 6], 3),
            ([5, 4, 3, 5], 2),
            ([4, 4], 1),
            ([9], 4),
            ([1, 1, 1], 4),
            ([2, 1], 6),
            ([1], 3),
        ],
    )
    @pytest.mark.parametrize("offset", [0.0, 1.5])
    def test_every_metric(self, sizes, dimension, offset):
        embeddings, labels = sample(len(sizes) + dimension, sizes, dimension, offset)
        for epsilon in (0.1, 1 / 137):
            fast = geometry_metrics(embeddings, labels, epsilon=epsilon)
            slow = slow_metrics(embeddings, labels, epsilon)
            if dimension == 1:  # every direction is tied with half of the others
                fast.pop("neighbourhood/knn_purity")
                slow.pop("neighbourhood/knn_purity")
            assert fast == pytest.approx(slow, abs=1e-9)

    @pytest.mark.parametrize("pairs_at_once", [1, 100])
    def test_in_blocks(self, monkeypatch, pairs_at_once):
        embeddings, labels = sample(0, [9, 9, 2, 1], 5)
        whole = geometry_metrics(embeddings, labels)
        monkeypatch.setattr("simo_cl.metrics.geometry._PAIRS_AT_ONCE", pairs_at_once)
        assert geometry_metrics(embeddings, labels) == pytest.approx(whole, abs=1e-12)

    @settings(max_examples=40, deadline=None)
    @given(
        seed=st.integers(0, 2**16),
        sizes=st.lists(st.integers(1, 14), min_size=1, max_size=5),
        dimension=st.integers(2, 12),
    )
    def test_any_sizes(self, seed, sizes, dimension):
        embeddings, labels = sample(seed, sizes, dimension)
        fast = geometry_metrics(embeddings, labels)
        assert fast == pytest.approx(slow_metrics(embeddings, labels, 0.1), abs=1e-7)


class TestProperties:
    @settings(max_examples=30, deadline=None)
    @given(
        seed=st.integers(0, 2**16),
        sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
        dimension=st.integers(2, 8),
        data=st.data(),
    )
    def test_invariances(self, seed, sizes, dimension, data):
        """Scaling, rotating, reordering samples and renaming classes change nothing."""
        embeddings, labels = sample(seed, sizes, dimension)
        order = torch.tensor(data.draw(st.permutations(range(len(labels)))))
        generator = torch.Generator().manual_seed(seed)
        square = torch.randn(dimension, dimension, generator=generator).double()
        rotation, _ = torch.linalg.qr(square)
        scales = torch.rand(len(labels), 1, generator=generator) + 0.5
        moved = (embeddings * scales @ rotation)[order]
        changed = geometry_metrics(moved, 100 - labels[order])
        assert changed == pytest.approx(geometry_metrics(embeddings, labels), abs=1e-7)

    @pytest.mark.parametrize("norm", [1e-16, 1e15])
    def test_any_norm(self, norm):
        embeddings, labels = sample(0, [5, 4, 3], 6)
        embeddings = embeddings.float()
        expected = geometry_metrics(embeddings, labels)
        assert geometry_metrics(norm * embeddings, labels) == pytest.approx(expected, abs=1e-5)
        for measure in (simo_similarity, lambda e: class_mean_directions(e, labels, 10)):
            found = measure(norm * embeddings)
            torch.testing.assert_close(found, measure(embeddings), equal_nan=True)

    @settings(max_examples=30, deadline=None)
    @given(
        seed=st.integers(0, 2**16),
        sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
        dimension=st.integers(1, 8),
        center=st.booleans(),
        duplicate=st.booleans(),
    )
    def test_ranges(self, seed, sizes, dimension, center, duplicate):
        embeddings, labels = sample(seed, sizes, dimension)
        if duplicate:
            embeddings = embeddings[:1].expand_as(embeddings)
        metrics = geometry_metrics(centred(embeddings) if center else embeddings, labels)
        up_to_4 = ("neighbourhood/d_within", "neighbourhood/d_between")
        for name, value in metrics.items():
            assert math.isfinite(value), name
            if name == "neighbourhood/subspace_overlap_normalized":
                assert -dimension <= value <= 1 + 1e-9
            elif name not in ("neighbourhood/ratio", *up_to_4) and not name.startswith("collapse"):
                assert -1e-9 <= value <= 1 + 1e-9, name
            elif name in up_to_4:
                assert 0 <= value <= 4 + 1e-9
            elif name.startswith("collapse"):
                most = 1 if name.endswith("share") else min(embeddings.shape)
                assert 0 < value <= most + 1e-9

    def test_orthogonal_classes_are_perfect(self):
        embeddings = torch.eye(8)[:3].repeat_interleave(12, dim=0)
        metrics = geometry_metrics(embeddings, torch.arange(3).repeat_interleave(12))
        assert metrics["orthogonality/coherence"] == 0
        assert metrics["orthogonality/bound_gap"] == 0
        assert metrics["orthogonality/o_between"] == 0
        assert metrics["neighbourhood/d_within"] == 0
        assert metrics["neighbourhood/ratio"] == 0
        assert metrics["neighbourhood/knn_purity"] == 1
        assert metrics["neighbourhood/subspace_overlap"] == 0
        assert metrics["simo/similarity_within"] == 1
        assert metrics["collapse/effective_rank"] == pytest.approx(3)
        assert metrics["collapse/participation_ratio_share"] == pytest.approx(3 / 8)

    def test_tied_neighbours_share_the_last_places(self):
        """One neighbour nearer, 18 tied for the 9 places left; half of those have the class."""
        embeddings = torch.tensor([[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 18)
        labels = torch.tensor([0, 1] + [0, 1] * 9)
        generator = torch.Generator().manual_seed(0)
        first_two, others = (0 + 9 * 9 / 18) / 10, 10 * (8 / 17) / 10
        for _ in range(3):
            order = torch.randperm(20, generator=generator)
            purity = knn_purity(embeddings[order], labels[order])
            assert purity == pytest.approx((2 * first_two + 18 * others) / 20)

    def test_random_subspaces_overlap_by_chance(self):
        generator = torch.Generator().manual_seed(0)
        embeddings = torch.randn(600, 20, generator=generator)
        metrics = geometry_metrics(embeddings, torch.arange(60).repeat_interleave(10))
        assert metrics["neighbourhood/subspace_overlap_chance"] == pytest.approx(0.2)
        assert metrics["neighbourhood/subspace_overlap_normalized"] == pytest.approx(0, abs=0.01)

    def test_precision_of_the_input_hardly_matters(self):
        embeddings, labels = sample(0, [30, 30, 30], 12, offset=1.0)
        exact = geometry_metrics(embeddings, labels)
        assert geometry_metrics(embeddings.float(), labels) == pytest.approx(exact, abs=1e-5)
        halves = geometry_metrics(embeddings.bfloat16(), labels.int())
        assert halves == pytest.approx(exact, rel=0.05, abs=0.05)

    def test_needs_no_gradient(self):
        embeddings, labels = sample(0, [3, 3], 4)
        embeddings.requires_grad_()
        assert geometry_metrics(embeddings, labels)
        assert not class_mean_directions(embeddings, labels, 10).requires_grad
        assert not centred(embeddings).requires_grad
        assert not simo_similarity(embeddings).requires_grad


class TestCollapse:
    def test_to_one_point(self):
        embeddings = torch.tensor([0.3, -0.7, 0.2]).repeat(30, 1)
        labels = torch.arange(3).repeat(10)
        metrics = geometry_metrics(embeddings, labels)
        assert metrics["orthogonality/mean_abs_cos"] == pytest.approx(1)
        assert metrics["neighbourhood/knn_purity"] == pytest.approx(9 / 29)
        assert metrics["neighbourhood/subspace_overlap"] == pytest.approx(1)
        assert metrics["collapse/effective_rank"] == pytest.approx(1)
        assert "neighbourhood/ratio" not in metrics

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_centred_point_is_zero_not_rounding_errors(self, dtype):
        embeddings = torch.tensor([0.3, -0.7, 0.2], dtype=dtype).repeat(30, 1)
        around_mean = centred(embeddings)
        assert around_mean.dtype == dtype
        assert not around_mean.any()
        metrics = geometry_metrics(around_mean, torch.arange(3).repeat(10))
        assert metrics["neighbourhood/d_between"] == 0
        assert not any(name.startswith(("collapse", "orthogonality/m")) for name in metrics)

    def test_antipodal_pair_has_no_mean(self):
        embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
        metrics = geometry_metrics(embeddings, torch.tensor([0, 0, 1]))
        assert metrics["neighbourhood/antipodal_share"] == 1
        assert "orthogonality/coherence" not in metrics

    def test_two_equal_classes_are_opposite_when_centred(self):
        embeddings, labels = sample(3, [20, 20], 6)
        metrics = geometry_metrics(centred(embeddings), labels)
        assert metrics["orthogonality/mean_abs_cos"] > 0.9


class TestClassMeans:
    def test_rows(self):
        embeddings = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [1.0, 0.0]])
        means = class_mean_directions(embeddings, torch.tensor([0, 0, 2, 2]), 4)
        assert means[0].tolist() == pytest.approx([0.5**0.5, 0.5**0.5])
        assert means[1:].isnan().all()

    def test_cosines(self):
        embeddings = torch.eye(3)
        cosines = class_mean_cosines(embeddings, torch.tensor([0, 1, 3]), 4)
        expected = torch.eye(4).index_fill(0, torch.tensor([2]), math.nan)
        expected = expected.index_fill(1, torch.tensor([2]), math.nan)
        assert torch.equal(cosines.isnan(), expected.isnan())
        assert torch.equal(cosines.nan_to_num(), expected.nan_to_num())

    def test_refuses_unknown_labels(self):
        with pytest.raises(ValueError, match=r"\[0, 2\).*1 to 2"):
            class_mean_directions(torch.eye(2), torch.tensor([1, 2]), 2)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_antipodal_noise_is_no_direction(self, dtype):
        vector = torch.randn(1, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
        embeddings = torch.cat([vector, -vector] * 10)
        assert class_mean_directions(embeddings, torch.zeros(20).long(), 1).isnan().all()


class TestDrift:
    def test_mean_over_old_classes(self):
        now = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [math.nan, math.nan]])
        learnt = torch.tensor([[1.0, 0.0], [1.0, 0.0], [math.nan, math.nan], [1.0, 0.0]])
        assert drift(now, learnt) == pytest.approx(0.5)
        assert drift(now, -now) == pytest.approx(2)

    def test_without_old_classes_is_nan(self):
        assert math.isnan(drift(torch.eye(2), torch.full((2, 2), math.nan)))

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"\(2, 2\) now, \(3, 3\) when learnt"):
            drift(torch.eye(2), torch.eye(3))


class TestSimOSimilarity:
    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 2**16), epsilon=st.sampled_from([1.0, 0.1, 1 / 137]))
    def test_against_double_loop(self, seed, epsilon):
        embeddings, _ = sample(seed, [7], 5)
        similarity = simo_similarity(embeddings, epsilon)
        x = embeddings / embeddings.norm(dim=1, keepdim=True)
        for i, j in itertools.product(range(7), repeat=2):
            d, o = float((x[i] - x[j]).square().sum()), float(x[i] @ x[j]) ** 2
            assert float(similarity[i, j]) == pytest.approx(epsilon * o / (epsilon + d))
        assert similarity.min() >= 0
        assert similarity.max() <= 1

    def test_ends_of_the_range(self):
        similarity = simo_similarity(torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        assert similarity.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]

    @pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan])
    def test_refuses_epsilon(self, epsilon):
        with pytest.raises(ValueError, match="epsilon must be positive"):
            simo_similarity(torch.eye(2), epsilon)


class TestBounds:
    def test_known_optima(self):
        """The icosahedron's 6 diagonals, the Mercedes frame, lines in the plane, orthoplex."""
        assert coherence_bound(6, 3) == pytest.approx(1 / 5**0.5)
        assert welch_bound(3, 2) == pytest.approx(0.5)
        assert coherence_bound(5, 2) == pytest.approx(math.cos(math.pi / 5))
        assert coherence_bound(7, 3) == pytest.approx(1 / 3**0.5)
        assert coherence_bound(4, 4) == 0
        assert coherence_bound(2, 2) == 0
        assert coherence_bound(3, 1) == 1

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 2**16), num_classes=st.integers(2, 12), dimension=st.integers(1, 6))
    def test_no_set_of_directions_beats_them(self, seed, num_classes, dimension):
        embeddings, labels = sample(seed, [1] * num_classes, dimension)
        metrics = geometry_metrics(embeddings, labels)
        assert metrics["orthogonality/bound_gap"] >= -1e-9
        assert metrics["orthogonality/rms_gap"] >= -1e-9

    @pytest.mark.parametrize(("num_classes", "dimension"), [(1, 4), (3, 0)])
    def test_refuse(self, num_classes, dimension):
        with pytest.raises(ValueError, match="at least two classes"):
            coherence_bound(num_classes, dimension)


class TestBadInput:
    def test_shapes(self):
        with pytest.raises(ValueError, match=r"\(3, 2\) and \(2,\)"):
            geometry_metrics(torch.ones(3, 2), torch.zeros(2).long())

    def test_no_samples(self):
        with pytest.raises(ValueError, match=r"no embeddings.*\(0, 4\)"):
            geometry_metrics(torch.ones(0, 4), torch.zeros(0).long())

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_broken_values(self, value):
        embeddings = torch.ones(4, 2)
        embeddings[1, 0] = value
        with pytest.raises(ValueError, match="1 of 4 embeddings contain NaN or infinite"):
            geometry_metrics(embeddings, torch.zeros(4).long())
