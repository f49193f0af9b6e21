"""The statements of docs/loss.md."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from scipy.special import betainc
from torch import Tensor
from torch.nn.functional import normalize

from simo_cl.losses import simo_loss, simo_terms
from simo_cl.losses.arguments import Form

DOCUMENT = Path(__file__).parents[2] / "docs" / "loss.md"


def table_after(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of the document, header first."""
    lines = DOCUMENT.read_text(encoding="utf-8").split(heading, 1)[1].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[0], *table[2:]]


def pair_at(cosine: float) -> Tensor:
    return torch.tensor([[1, 0], [cosine, math.sqrt(1 - cosine**2)]], dtype=torch.float64)


def similar(x: Tensor, epsilon: float = 0.1, form: Form = "pairwise") -> float:
    terms = simo_terms(x, torch.tensor([0, 0]), epsilon=epsilon, normalize=False, form=form)
    return float(terms.similar)


def dissimilar(x: Tensor, epsilon: float = 0.1) -> float:
    return float(simo_terms(x, torch.tensor([0, 1]), epsilon=epsilon, normalize=False).dissimilar)


# --- on the unit sphere -------------------------------------------------------------------------


def test_the_table_of_best_cosines() -> None:
    header, *rows = table_after("### Leaning moves the target angle")
    cosines = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    d, o = 2 - 2 * cosines, cosines**2
    for epsilon_text, *cells in rows:
        epsilon = 1 / 137 if epsilon_text == "1/137" else float(epsilon_text)
        for leaning_text, cell in zip(header[1:], cells, strict=True):
            y = float(leaning_text)
            loss = y * d / (epsilon + o) + (1 - y) * o / (epsilon + d)
            assert float(cosines[loss.argmin()]) == pytest.approx(float(cell), abs=6e-4)


def test_the_best_cosine_is_where_the_loss_stops_pulling() -> None:
    for epsilon, leaning, best in ((0.1, 0.0, 0.0), (0.1, 0.01, 0.264), (1 / 137, 0.01, 0.352)):
        slopes = []
        for cosine in (best - 0.003, best + 0.003):
            pair = pair_at(cosine).requires_grad_()
            loss = simo_loss(pair, torch.tensor([0, 1]), epsilon=epsilon, leaning=leaning)
            (gradient,) = torch.autograd.grad(loss, pair)
            slopes.append(float((gradient[0] * pair.detach()[1]).sum()))
        assert slopes[0] < 0 < slopes[1]


@pytest.mark.parametrize("epsilon", [1 / 137, 0.1, 1.0])
def test_the_barrier_between_equal_and_antipodal(epsilon: float) -> None:
    barrier = 1 - math.sqrt(1 + epsilon)
    height = similar(pair_at(barrier), epsilon)
    assert height == pytest.approx((1 + math.sqrt(1 + epsilon)) / epsilon)
    for cosine in torch.linspace(-1, 1, 101, dtype=torch.float64).tolist():
        assert similar(pair_at(cosine), epsilon) <= height * (1 + 1e-12)
    antipodal = similar(pair_at(-1.0), epsilon)
    assert antipodal == pytest.approx(4 / (1 + epsilon))
    assert antipodal < similar(pair_at(-0.99), epsilon)


@pytest.mark.parametrize("epsilon", [1 / 137, 0.1, 1.0])
def test_the_rectified_form_falls_from_opposite_to_equal(epsilon: float) -> None:
    cosines = torch.linspace(-1, 1, 101, dtype=torch.float64).tolist()
    losses = [similar(pair_at(c), epsilon, form="rectified") for c in cosines]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(4 / epsilon)
    for cosine, loss in zip(cosines[50:], losses[50:], strict=True):
        assert loss == pytest.approx(similar(pair_at(cosine), epsilon))


@pytest.mark.parametrize(("form", "is_left"), [("pairwise", False), ("rectified", True)])
def test_the_whole_loss_leads_out_of_a_split_start(form: Form, is_left: bool) -> None:
    """Four orthogonal classes, half of each opposite to the other half."""
    labels = torch.arange(4).repeat_interleave(8)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(32, 16, generator=generator, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(16)
    x = normalize(signs[:, None] * torch.eye(4, 16, dtype=torch.float64)[labels] + noise, dim=1)
    for _ in range(400):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(simo_loss(x, labels, form=form), x)
        step = 0.05 * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(0.01)
        x = normalize(x.detach() - step, dim=1)
    same = labels[:, None] == labels
    assert ((x @ x.T)[same] > 0).all() == is_left


@pytest.mark.parametrize("epsilon", [1 / 137, 0.1])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_pair_falls_to_the_side_of_the_barrier_it_starts_on(epsilon: float, side: int) -> None:
    pair = pair_at(1 - math.sqrt(1 + epsilon) + side * 0.01)
    for _ in range(150):
        pair.requires_grad_()
        loss = simo_terms(pair, torch.tensor([0, 0]), epsilon=epsilon).similar
        (gradient,) = torch.autograd.grad(loss, pair)
        step = 0.02 * gradient / gradient.norm().clamp_min(0.1)
        pair = normalize(pair.detach() - step, dim=1)
    assert float(pair[0] @ pair[1]) == pytest.approx(side, abs=0.02)


@pytest.mark.parametrize(("form", "ends"), [("pairwise", (0.3, 0.5)), ("rectified", (0, 0))])
@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_starts_at_random_ends_at_two_opposite_points_or_at_one(
    seed: int, form: Form, ends: tuple[float, float]
) -> None:
    labels = torch.zeros(30, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    x = normalize(torch.randn(30, 16, generator=generator, dtype=torch.float64), dim=1)
    for _ in range(400):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(simo_terms(x, labels, form=form).similar, x)
        step = 0.05 * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(0.01)
        x = normalize(x.detach() - step, dim=1)
    i, j = torch.triu_indices(30, 30, offset=1)
    cosines = (x @ x.T)[i, j]
    assert cosines.abs().min() > 0.99
    assert ends[0] <= (cosines < 0).double().mean() <= ends[1]


def test_the_barrier_at_the_default_epsilon_is_at_93_degrees() -> None:
    assert math.degrees(math.acos(1 - math.sqrt(1.1))) == pytest.approx(92.8, abs=0.05)


def test_the_steepest_slope_by_epsilon() -> None:
    angle = torch.logspace(-5, math.log10(math.pi), 400_001, dtype=torch.float64)
    c, s = angle.cos(), angle.sin()
    for epsilon in (1e-3, 1e-4):
        p, h = 1 / (epsilon + c**2), (1 - c) / (epsilon + c**2)
        steepest = (2 * p * (1 + 2 * c * h) * s).abs().max()
        assert float(steepest) * epsilon**1.5 == pytest.approx(1.30, rel=0.05)
        h = c / (1 + epsilon / 2 - c)
        steepest = ((h + h**2 / 2) * s).abs().max()
        assert float(steepest) * epsilon**1.5 == pytest.approx(0.65, rel=0.05)
    assert pytest.approx(50, abs=1) == (0.1 * 137) ** 1.5


# --- Theorem A.1 --------------------------------------------------------------------------------


def test_axioms_that_hold() -> None:
    x = torch.rand(40, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for pair in x:
        assert similar(pair) > 0
        assert dissimilar(pair) >= 0
        assert similar(pair) == pytest.approx(similar(pair.flip(0)))
        assert dissimilar(pair) == pytest.approx(dissimilar(pair.flip(0)))
        assert similar(pair[[0, 0]]) == 0


def test_axioms_that_fail() -> None:
    x, y, z = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    assert similar(torch.stack([x, y])) == pytest.approx(1 / 1.1)
    assert similar(torch.stack([y, z])) == pytest.approx(1 / 1.1)
    assert similar(torch.stack([x, z])) == pytest.approx(2 / 0.1)
    assert dissimilar(torch.stack([y, y])) == pytest.approx(4 / 0.1)  # |y|^4 / epsilon
    assert dissimilar(torch.stack([x, z])) == 0
    assert dissimilar(torch.stack([x, x])) == pytest.approx(1 / 0.1)


# --- Theorem A.2 --------------------------------------------------------------------------------


def test_zero_is_the_global_minimum_without_unit_norm() -> None:
    assert simo_loss(torch.zeros(6, 4), torch.tensor([0, 0, 1, 1, 2, 2]), normalize=False) == 0


def test_the_minimum_on_the_sphere_is_orthogonal_classes() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    best = torch.eye(4, dtype=torch.float64)[labels]
    assert simo_loss(best, labels) == pytest.approx(0, abs=1e-12)
    one_point = torch.ones(6, 4, dtype=torch.float64, requires_grad=True)
    loss = simo_loss(one_point, labels)
    (gradient,) = torch.autograd.grad(loss, one_point)
    assert loss > 10
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


distance_only = partial(simo_loss, form="distance")
orthogonality_only = partial(simo_loss, form="orthogonality")


def test_distance_alone_cannot_tell_orthogonal_classes_from_opposite_ones() -> None:
    """It prefers two classes to be opposite, where orthogonality alone wants them orthogonal."""
    labels = torch.tensor([0, 0, 1, 1])
    opposite = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    orthogonal = torch.eye(2)[labels]
    assert distance_only(opposite, labels) < distance_only(orthogonal, labels)
    assert orthogonality_only(orthogonal, labels) < orthogonality_only(opposite, labels)


def minimize(loss_of, dimension: int, steps: int = 400) -> tuple[float, Tensor]:
    """Effective rank of the points, and cosines of the class means, after descent."""
    labels = torch.arange(10).repeat(8)
    x = torch.rand(80, dimension, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(x, labels).backward()
        optimizer.step()
    e = normalize(x.detach(), dim=1)
    means = normalize(e.view(8, 10, -1).mean(0), dim=1)
    i, j = torch.triu_indices(10, 10, offset=1)
    return effective_rank(e), (means @ means.T)[i, j]


def effective_rank(e: Tensor) -> float:
    share = torch.linalg.svdvals(e)
    share = share / share.sum()
    return float(torch.special.entr(share).sum().exp())


def test_effective_rank_with_and_without_orthogonality() -> None:
    with_it, cosines = minimize(simo_loss, 16)
    assert with_it == pytest.approx(10, abs=0.25)
    assert cosines.abs().mean() < 0.03
    without, cosines = minimize(distance_only, 16)
    assert without == pytest.approx(9, abs=0.25)
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / 9), atol=0.05, rtol=0)
    for loss in (simo_loss, distance_only):
        assert minimize(loss, 4, steps=100)[0] == pytest.approx(4, abs=0.1)


# --- Theorem A.3 and after ----------------------------------------------------------------------


def test_no_more_than_d_orthogonal_directions() -> None:
    d, classes = 5, 9
    labels = torch.arange(classes)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        e = normalize(torch.randn(classes, d, generator=generator, dtype=torch.float64), dim=1)
        gram = e @ e.T
        assert torch.linalg.matrix_rank(gram) <= d
        o = gram[~torch.eye(classes, dtype=torch.bool)].square()
        welch = (classes - d) / (d * (classes - 1))
        assert o.mean() >= welch
        assert o.max() >= welch
        assert simo_terms(e, labels).dissimilar > 0


def chance_to_exceed(d: int, coherence: float) -> float:
    """That the cosine of two random unit vectors is larger, of either sign."""
    return float(betainc((d - 1) / 2, 0.5, 1 - coherence**2))


def guaranteed(d: int, coherence: float) -> int:
    return int((1 + math.sqrt(1 + 8 / chance_to_exceed(d, coherence))) / 2)


def test_the_table_of_near_orthogonal_classes() -> None:
    header, *rows = table_after("### A.3.1, A.4")
    for d_text, *cells in rows:
        for coherence, cell in zip(header[1:], cells, strict=True):
            stated = float(cell.replace(" · 10¹⁶", "e16"))
            assert guaranteed(int(d_text), float(coherence)) == pytest.approx(stated, rel=0.01)
            chance = chance_to_exceed(int(d_text), float(coherence))
            assert chance <= 2 * math.exp(-int(d_text) * float(coherence) ** 2 / 2)


def test_so_many_random_directions_do_fit() -> None:
    """The guarantee is on average over draws, so a few draws must contain one that keeps it."""
    d, coherence = 64, 0.3
    count = guaranteed(d, coherence)
    generator = torch.Generator().manual_seed(0)
    e = normalize(torch.randn(20, count, d, generator=generator), dim=2)
    largest = (e @ e.transpose(1, 2) - torch.eye(count)).abs().amax((1, 2))
    assert largest.min() <= coherence


def test_so_many_do_not_fit() -> None:
    def most(d: int, coherence: float) -> int:
        return math.floor(d * (1 - coherence**2) / (1 - d * coherence**2))

    assert most(16, 0.1) == 18
    assert most(16, 0.2) == 42
    assert math.sqrt((100 - 16) / (16 * 99)) == pytest.approx(0.23, abs=0.005)


# --- the kernel form ----------------------------------------------------------------------------


def kernel(cosines: Tensor, epsilon: float, bias: float = 0.0) -> Tensor:
    return (cosines + bias) ** 2 / (epsilon + 2 - 2 * cosines)


def kernel_terms(x: Tensor, labels: list[int], **settings: float) -> tuple[float, float, float]:
    terms = simo_terms(x, torch.tensor(labels), form="kernel", **settings)
    return tuple(term.item() for term in terms)  # type: ignore[return-value]


def with_cosines(gram: Tensor) -> Tensor:
    """Unit rows with these products."""
    values, vectors = torch.linalg.eigh(gram)
    # An eigenvalue that is 0 but for rounding would place the points at its root, 1e-8, off.
    return vectors * values.where(values > 1e-12, 0.0).sqrt()


def simplex(n: int, cosine: float | None = None) -> Tensor:
    """The products of n points of equal cosines, by default of a regular simplex."""
    gram = torch.full((n, n), -1 / (n - 1) if cosine is None else cosine, dtype=torch.float64)
    return gram.fill_diagonal_(1)


@pytest.mark.parametrize("epsilon", [0.01, 1.0])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_the_kernel_is_a_repulsion_and_a_distance(epsilon: float, bias: float) -> None:
    c = torch.linspace(-1, 1, 101, dtype=torch.float64)
    d = 2 - 2 * c
    expected = (1 + bias + epsilon / 2) ** 2 / (epsilon + d) + d / 4 - (1 + bias + epsilon / 4)
    torch.testing.assert_close(kernel(c, epsilon, bias), expected)
    assert (kernel(c, epsilon, bias).diff(n=2) > 0).all()  # convex
    e = normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double(), dim=1)
    pairs = (e[:, None] - e).square().sum(-1).triu(1).sum()
    torch.testing.assert_close(pairs, 81 - e.sum(0).square().sum())


def test_the_forms_differ_in_the_similar_part_alone_without_bias_and_leaning() -> None:
    for cosine in (-0.9, -0.2, 0.5, 0.99):
        of_pairwise, of_kernel = [], []
        for form, values in (("pairwise", of_pairwise), ("kernel", of_kernel)):
            pair = pair_at(cosine).requires_grad_()
            value = simo_terms(pair, torch.tensor([0, 1]), form=form).dissimilar
            values += [value.detach(), torch.autograd.grad(value, pair)[0]]
        torch.testing.assert_close(of_kernel[0], of_pairwise[0] + 1)
        torch.testing.assert_close(of_kernel[1], of_pairwise[1])


@pytest.mark.parametrize("bias", [0.0, 0.3, 1.0])
def test_the_similar_loss_of_the_kernel(bias: float) -> None:
    epsilon = 0.05
    cosines = torch.linspace(-1, 1, 201, dtype=torch.float64)
    same = [kernel_terms(pair_at(float(c)), [0, 0], epsilon=epsilon, bias=bias)[0] for c in cosines]
    assert same[-1] == pytest.approx(1 / (1 + (1 + bias) ** 2 / epsilon))
    assert same[0] == pytest.approx(1 / (1 + (1 - bias) ** 2 / (4 + epsilon)))
    assert max(same) == pytest.approx(1, abs=1e-4)
    assert float(cosines[max(range(201), key=same.__getitem__)]) == pytest.approx(-bias, abs=0.01)
    below = [loss for c, loss in zip(cosines.tolist(), same, strict=True) if c <= -bias]
    assert below == sorted(below)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("bias", [0.0, 0.1, 1 / 3, 0.8])
def test_the_optimum_of_few_classes_has_equal_cosines(epsilon: float, bias: float) -> None:
    """No start of descent ends below it, and the gradient there is none."""
    x = with_cosines(simplex(4, -min(bias, 1 / 3))).requires_grad_()
    settings = {"form": "kernel", "epsilon": epsilon, "bias": bias}
    best = simo_loss(x, torch.arange(4), **settings)
    (gradient,) = torch.autograd.grad(best, x)
    assert gradient.abs().max() < 1e-9
    if bias <= 1 / 3:
        assert best.item() == pytest.approx(2)  # 1 a pair, in means and dissimilar
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        y = torch.randn(4, 4, generator=generator, dtype=torch.float64).requires_grad_()
        optimizer = torch.optim.Adam([y], lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            loss = simo_loss(y, torch.arange(4), **settings)
            loss.backward()
            optimizer.step()
        assert best.item() <= loss.item() + 1e-12
        assert loss.item() == pytest.approx(best.item(), abs=0.02)


def test_the_bound_for_more_classes_than_dimensions() -> None:
    epsilon, generator = 0.1, torch.Generator().manual_seed(0)

    def summed(gram: Tensor) -> float:
        n = len(gram)
        loss = kernel_terms(with_cosines(gram), list(range(n)), epsilon=epsilon)[2]
        return (loss - 1) * n * (n - 1) / 2

    for classes, d in ((5, 4), (7, 4), (8, 4), (6, 3)):
        bound = (classes**2 / d - classes) / (8 + 2 * epsilon)
        e = normalize(torch.randn(classes, d, generator=generator, dtype=torch.float64), dim=1)
        assert summed(e @ e.T) >= bound
    antipodal = torch.block_diag(*[simplex(2)] * 3)
    assert summed(antipodal) == pytest.approx((36 / 3 - 6) / (8 + 2 * epsilon))
    for s in (2, 3, 5):
        assert summed(simplex(s)) == pytest.approx(1 / (4 + 2 * epsilon * (s - 1) / s))

    # The six diagonals of an icosahedron, in the best choice of their directions.
    golden = (1 + math.sqrt(5)) / 2
    lines = torch.tensor(
        [[0, 1, g] for g in (golden, -golden)]
        + [[1, g, 0] for g in (golden, -golden)]
        + [[g, 0, 1] for g in (golden, -golden)],
        dtype=torch.float64,
    )
    lines = normalize(lines, dim=1)
    off_diagonal = (lines @ lines.T)[~torch.eye(6, dtype=torch.bool)]
    torch.testing.assert_close(off_diagonal.abs(), torch.full_like(off_diagonal, 5**-0.5))
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * 6)
    least = min(summed((s[:, None] * lines) @ (s[:, None] * lines).T) for s in signs)
    assert least / summed(antipodal) == pytest.approx(2.05, abs=0.005)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_the_gradients_at_the_collapsed_point(epsilon: float, bias: float) -> None:
    t, k = (1 + bias) / epsilon, (1 + bias) ** 2 / epsilon
    angle = 1e-3 * math.sqrt(epsilon)
    for labels, expected in (([0, 0], 2 * (t + t**2) / (1 + k) ** 2), ([0, 1], 2 * (t + t**2))):
        pair = pair_at(math.cos(angle)).requires_grad_()
        settings = {"form": "kernel", "epsilon": epsilon, "bias": bias}
        loss = simo_loss(pair, torch.tensor(labels), **settings, weights=(1, 0, 1))
        (gradient,) = torch.autograd.grad(loss, pair)
        assert float(gradient[0].norm()) / angle == pytest.approx(expected, rel=1e-4)


def test_the_table_of_the_collapsed_point() -> None:
    _, *rows = table_after("### Collapse")
    c = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    for row in rows:
        epsilon, bias, pull, push, ratio, optimum = (float(cell) for cell in row)
        t, k = (1 + bias) / epsilon, (1 + bias) ** 2 / epsilon
        assert push == pytest.approx(2 * (t + t**2), rel=0.006)
        assert pull == pytest.approx(2 * (t + t**2) / (1 + k) ** 2, rel=0.006)
        assert ratio == pytest.approx((1 + k) ** 2, rel=0.006)
        loss = 31 / (1 + kernel(c, epsilon, bias)) + 7 * (1 + kernel(c, epsilon, bias))
        best = float(c[loss.argmin()])
        assert optimum == pytest.approx(best, abs=0.006)
        threshold = (1 + bias) ** 2 / (math.sqrt(31 / 7) - 1)
        assert (best == 1) == (epsilon >= threshold)
    assert pytest.approx(0.9, abs=0.01) == 1 / (math.sqrt(31 / 7) - 1)
    k = float(kernel(torch.tensor(0.97), 0.01))
    assert (1 + k) ** 2 == pytest.approx(200, rel=0.05)


def test_the_table_of_the_optima() -> None:
    """The cosines found there are those of the closed form, to two digits, where it says so."""
    _, *rows = table_after("### Where its optima lie")
    assert len(rows) >= 16
    for row in rows:
        (classes, d), bias = (int(n) for n in row[0].split(",")), float(row[1])
        counted = [part.split(" × ") for part in row[3].split(", ")]
        assert sum(int(n) for n, _ in counted) == classes * (classes - 1) // 2
        settings = row[2].strip("()").split(") (")
        for setting, loss, above in zip(settings, row[4].split(), row[5].split(), strict=True):
            epsilon, leaning = (float(number) for number in setting.split(", "))
            cosines = torch.tensor([float(c) for n, c in counted for _ in range(int(n))])
            of_pairs = (1 + kernel(cosines, epsilon, bias)) ** (1 - 2 * leaning)
            similar = 1 / (1 + (1 + bias) ** 2 / epsilon)
            assert float(loss) == pytest.approx(similar + 2 * float(of_pairs.mean()), abs=5e-3)
            assert abs(float(above)) < 1e-3
            if float(above) == 0 and classes <= d + 1:
                best = min(bias if classes <= d else 1, 1 / (classes - 1))
                assert [float(c) for _, c in counted] == pytest.approx([-best], abs=0.006)
