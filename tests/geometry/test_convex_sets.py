"""Hull, cone, dual cone, half-space and span against exact solutions, optimality conditions and each other."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drpt.capture.diagnostics import BlockGroup, StepReport
from drpt.geometry.capped_simplex import project_onto_capped_simplex
from drpt.geometry.cone import Cone
from drpt.geometry.dual_cone import DualCone
from drpt.geometry.products import GeneralRows, NonFiniteProductsError, Products
from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.residuals import cone_residual, hull_residual, span_residual
from drpt.geometry.solution import Solution
from drpt.geometry.solver import solve
from drpt.geometry.span import Span
from drpt.geometry.subset import num_kept
from tests.geometry.test_identities import BLOCKS, SEEDS, Problem, assert_same, regularizer
from tests.reference.quadratic_program import solve_by_enumeration

CONVEX = ("hull", "cone", "dual_cone", "halfspace", "span")
STRENGTH = {"hull": 0.4, "span": 0.0}


def project(problem, name, strength=None):
    return problem.update(regularizer(name, strength=STRENGTH.get(name) if strength is None else strength))


def distance(problem, name, strength=None):
    return (project(problem, name, strength) - problem.target).norm(dim=1)


def close(a, b, tolerance=1e-8):
    """The solver stops at a residual of 1e-9 of the problem's scale; a projection of a projection has it twice, and more."""
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@given(seed=SEEDS, strength=st.sampled_from([0.2, 0.25, 0.5, 0.8, 1.0]))
@settings(max_examples=25)
def test_hull_is_exact(seed, strength):
    problem = Problem(seed, n=4)
    found = distance(problem, "hull", strength)
    cap = (problem.weights / strength).clamp(max=1.0)
    for block in range(BLOCKS):
        _, expected = solve_by_enumeration(problem.general[block], problem.target[block], cap=cap, sums_to_one=True)
        assert float(found[block]) ** 2 == pytest.approx(expected, rel=1e-8)


@given(seed=SEEDS, n=st.integers(1, 5))
@settings(max_examples=25)
def test_cone_is_exact(seed, n):
    problem = Problem(seed, n=n)
    found = distance(problem, "cone")
    for block in range(BLOCKS):
        _, expected = solve_by_enumeration(problem.general[block], problem.target[block])
        assert float(found[block]) ** 2 == pytest.approx(expected, rel=1e-8)


@given(seed=SEEDS)
def test_dual_cone_is_feasible_and_complements_the_cone(seed):
    problem = Problem(seed)
    update = project(problem, "dual_cone")
    assert (torch.einsum("bnd,bd->bn", problem.general, update) > -1e-7).all()
    mirrored = problem.scaled(1.0)
    mirrored.target = -problem.target
    close(update, problem.target + project(mirrored, "cone"))  # Moreau
    assert_small(((problem.target - update) * update).sum(dim=1))


def assert_small(values, tolerance=1e-7):
    assert values.abs().max() < tolerance


@given(seed=SEEDS)
def test_halfspace_by_hand(seed):
    problem = Problem(seed)
    update, mean = project(problem, "halfspace"), problem.mean
    inner = (problem.target * mean).sum(dim=1)
    for block in range(BLOCKS):
        expected = problem.target[block]
        if inner[block] < 0:
            expected = expected - inner[block] / mean[block].square().sum() * mean[block]
        close(update[block], expected)


@given(seed=SEEDS)
def test_span_is_the_orthogonal_projection(seed):
    problem = Problem(seed, n=4)
    rest = problem.target - project(problem, "span", 0.0)
    assert_small(torch.einsum("bnd,bd->bn", problem.general, rest))


@given(seed=SEEDS, ridge=st.floats(1e-3, 10.0))
def test_ridged_span_solves_its_normal_equations(seed, ridge):
    problem = Problem(seed)
    gramian = torch.einsum("bnd,bmd->bnm", problem.general, problem.general)
    size = torch.einsum("bii,i->b", gramian, problem.weights)
    penalty = ridge * size[:, None, None] * torch.diag(1 / problem.weights)
    c = torch.linalg.solve(gramian + penalty, torch.einsum("bnd,bd->bn", problem.general, problem.target))
    close(project(problem, "span", ridge), torch.einsum("bn,bnd->bd", c, problem.general))


@given(seed=SEEDS)
@settings(max_examples=30)
def test_hull_comes_nearer_than_any_subset(seed):
    """With uniform weights its corners are the means of k examples."""
    problem = Problem(seed, n=6)
    problem.weights = torch.full((6,), 1 / 6, dtype=torch.float64)
    hull = distance(problem, "hull", 0.5)
    k = num_kept(0.5, 6)
    means = torch.stack([problem.general[:, list(chosen)].mean(dim=1) for chosen in itertools.combinations(range(6), k)], dim=1)
    nearest = (means - problem.target[:, None]).norm(dim=2).amin(dim=1)
    assert (hull <= nearest + 1e-9).all()


@given(seed=SEEDS)
def test_larger_sets_come_nearer(seed):
    problem = Problem(seed)
    distances = [distance(problem, "hull", 1.0), distance(problem, "hull", 0.5), distance(problem, "hull", 0.01)]
    distances += [distance(problem, "cone"), distance(problem, "span", 0.0)]
    for nearer, farther in itertools.pairwise(reversed(distances)):
        assert (nearer <= farther + 1e-9).all()
    assert_same(project(problem, "hull", 1.0), problem.mean)


@given(seed=SEEDS, name=st.sampled_from(CONVEX))
def test_projection_is_idempotent_and_non_expansive(seed, name):
    problem, other = Problem(seed), Problem(seed)
    once = project(problem, name)
    other.target = problem.target + torch.randn_like(problem.target)
    shift = (project(other, name) - once).norm(dim=1)
    assert (shift <= (other.target - problem.target).norm(dim=1) + 1e-8).all()
    problem.target = once
    close(project(problem, name), once, tolerance=1e-7)


@given(seed=SEEDS, name=st.sampled_from(CONVEX), ridge=st.sampled_from([0.0, 0.3]))
def test_examples_given_twice_with_half_their_weight_change_nothing(seed, name, ridge):
    strength = ridge if name == "span" else None
    close(project(Problem(seed).doubled(), name, strength), project(Problem(seed), name, strength), tolerance=1e-7)


@given(seed=SEEDS, name=st.sampled_from(CONVEX), exponent=st.integers(-12, 12))
def test_scaling_all_gradients_scales_the_update(seed, name, exponent):
    problem, factor = Problem(seed), 10.0**exponent
    expected = project(problem, name)
    torch.testing.assert_close(project(problem.scaled(factor), name) / factor, expected, rtol=1e-7, atol=1e-7)


@given(seed=SEEDS, name=st.sampled_from(CONVEX))
def test_order_of_examples_does_not_matter(seed, name):
    problem = Problem(seed)
    order = torch.randperm(len(problem.ids), generator=torch.Generator().manual_seed(seed))
    close(project(problem.reordered(order), name), project(problem, name), tolerance=1e-7)


@pytest.mark.parametrize("name", CONVEX)
def test_everyday_degenerate_input(name):
    """One example, vanishing ones, repeated ones, blocks of very different size."""
    problem = Problem(3, n=1)
    assert torch.isfinite(project(problem, name)).all()
    problem = Problem(4, n=5)
    problem.general[:, 1] = problem.general[:, 0]
    problem.general[:, 2] = 0
    problem.general[1] *= 1e-9
    problem.general[2] = 0
    update = project(problem, name)
    assert torch.isfinite(update).all()
    expected = problem.target[2] if name in {"dual_cone", "halfspace"} else torch.zeros_like(problem.target[2])
    close(update[2], expected)


@given(seed=SEEDS, n=st.integers(1, 40), is_rank_deficient=st.booleans(), sums_to_one=st.booleans(), newton=st.booleans())
@settings(max_examples=60)
def test_programs_converge_to_kkt_points(seed, n, is_rank_deficient, sums_to_one, newton):
    """With the Newton steps, and by the gradient steps alone, which take over where those fail."""
    with pytest.MonkeyPatch.context() as patch:
        if not newton:
            patch.setattr("drpt.geometry.solver._NEWTON_STEPS", 0)
        check_kkt(seed, n, is_rank_deficient, sums_to_one)


def check_kkt(seed, n, is_rank_deficient, sums_to_one):
    generator = torch.Generator().manual_seed(seed)
    dim = max(1, n // 3) if is_rank_deficient else 2 * n
    factors = torch.randn(4, n, dim, generator=generator, dtype=torch.float64)
    factors *= 10.0 ** torch.randint(-4, 5, (4, 1, 1), generator=generator)
    linear = torch.einsum("bnd,bd->bn", factors, torch.randn(4, dim, generator=generator, dtype=torch.float64))
    cap = torch.full((1, n), min(1.0, 3.0 / n), dtype=torch.float64) if sums_to_one else None
    solved = solve(QuadraticProgram(gramian=factors @ factors.mT, linear=linear, cap=cap))
    assert solved.is_converged.all(), solved.residual
    c = solved.coefficients
    assert (c >= 0).all()
    if sums_to_one:
        close(c.sum(dim=1), torch.ones(4, dtype=torch.float64))
        assert (c <= cap + 1e-12).all()


@pytest.mark.parametrize("sums_to_one", [False, True])
def test_rounding_of_float32_products_is_not_followed(sums_to_one):
    """Nearly repeated gradients: their float32 gramian has negative eigenvalues, along which nothing is to be gained."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(16, 1, 200, generator=generator, dtype=torch.float64)
    rows = base + 1e-5 * torch.randn(16, 8, 200, generator=generator, dtype=torch.float64)
    target = base[:, 0] + torch.randn(16, 200, generator=generator, dtype=torch.float64)
    rough = rows.float()
    gramian, linear = rough @ rough.mT, torch.einsum("bnd,bd->bn", rough, target.float())
    assert float(torch.linalg.eigvalsh(gramian.double()).min()) < 0
    cap = torch.full((1, 8), 0.5) if sums_to_one else None
    solved = solve(QuadraticProgram(gramian=gramian, linear=linear, cap=cap))
    assert solved.is_converged.all()
    update = torch.einsum("bn,bnd->bd", solved.coefficients, rows)
    scale = (
        1.0 if sums_to_one else (base[:, 0] * target).sum(dim=1, keepdim=True) / base[:, 0].square().sum(dim=1, keepdim=True)
    )
    torch.testing.assert_close(update, scale * base[:, 0], rtol=1e-3, atol=1e-3)


def test_failure_is_told(monkeypatch):
    """Stopped before its first step, the solver keeps its numbers and claims nothing; the step's metrics count it."""
    for limit in ("_NEWTON_STEPS", "_CHANGES"):
        monkeypatch.setattr(f"drpt.geometry.solver.{limit}", 0)
    problem = Problem(0)
    gramian = torch.einsum("bnd,bmd->bnm", problem.general, problem.general)
    alignment = torch.einsum("bnd,bd->bn", problem.general, problem.target)
    products = Products(alignment=alignment, target_sq=problem.target.square().sum(dim=1), gramian=gramian)
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, draw=0)
    found = regularizer("hull", strength=0.4).coefficients(rows, products, range(BLOCKS))
    assert not found.solved.is_converged.any()
    assert (found.solved.residual > 1e-3).all()
    names = tuple(str(block) for block in range(BLOCKS))
    report = StepReport((BlockGroup(tuple(range(BLOCKS)), found, products),), names)
    metrics = report.metrics(update_norm=1.0)
    assert metrics["train/solver_failures/sum"] == BLOCKS
    assert metrics["train/solver_residual/max"] == float(found.solved.residual.max())


@given(seed=SEEDS, n=st.integers(1, 8))
def test_capped_simplex_projection_meets_its_variational_inequality(seed, n):
    generator = torch.Generator().manual_seed(seed)
    y = 3 * torch.randn(1, n, generator=generator, dtype=torch.float64)
    cap = torch.rand(1, n, generator=generator, dtype=torch.float64) + 1.0 / n
    p = project_onto_capped_simplex(y, cap)
    assert float(p.sum()) == pytest.approx(1)
    assert ((p >= 0) & (p <= cap)).all()
    for _ in range(20):
        x = project_onto_capped_simplex(torch.randn(1, n, generator=generator, dtype=torch.float64), cap)
        assert float(((y - p) * (x - p)).sum()) <= 1e-9


def test_residual_of_a_wrong_point_is_not_small():
    K, s = torch.eye(3, dtype=torch.float64)[None], torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0, 0.5]], dtype=torch.float64)
    assert float(cone_residual(K, s, right)) == 0
    assert float(cone_residual(K, s, right + 0.1)) > 0.05
    assert float(cone_residual(K, s, right - 0.1)) > 0.05  # out of the cone
    assert float(span_residual(K, s, s)) == 0
    assert float(span_residual(K, s, right)) > 0.05
    cap = torch.ones_like(s)
    corner = torch.tensor([[0.75, 0.0, 0.25]], dtype=torch.float64)
    assert float(hull_residual(K, s, corner, cap)) == 0
    assert float(hull_residual(K, s, corner.roll(1, dims=1), cap)) > 0.05
    assert float(hull_residual(K, s, 1.1 * corner, cap)) > 0.05  # out of the hull
    assert float(hull_residual(K, s, corner, cap / 2)) > 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_finite_is_a_failed_solve(value):
    """Whatever a solver meets: no NaN is handed out, and no zero that claims to be a solution."""
    found = Solution.of(torch.tensor([[1.0], [value]]), torch.tensor([0.0, value]), torch.zeros(2, dtype=torch.long))
    assert found.coefficients.tolist() == [[1.0], [0.0]]
    assert found.residual.tolist() == [0.0, float("inf")]
    assert found.is_converged.tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ours", [Cone, Span, DualCone])
def test_a_ridge_or_margin_that_overflows_is_a_failed_solve(ours, dtype):
    """λ = 1e300, which `RegularizerSpec` refuses: a run once finished with zero updates and a residual of NaN."""
    problem = Problem(0)
    products = Products(
        alignment=torch.einsum("bnd,bd->bn", problem.general, problem.target).to(dtype),
        target_sq=problem.target.square().sum(dim=1).to(dtype),
        gramian=torch.einsum("bnd,bmd->bnm", 1e10 * problem.general, 1e10 * problem.general).to(dtype),
    )
    rows = GeneralRows(base_weights=problem.weights, example_ids=problem.ids, draw=0)
    found = ours(strength=1e300).project(rows, products, None, BLOCKS)
    solved = found.solved
    assert torch.isfinite(found.general).all() or not solved.is_converged.any()
    assert not solved.residual.isnan().any()
    assert torch.equal(solved.is_converged, solved.residual <= 1e-6)
    if ours is not DualCone and dtype is torch.float32:  # the ridge is infinite
        assert not solved.is_converged.any()
        assert solved.residual.isinf().all()


def test_products_that_overflow_are_a_failed_solve():
    """Finite products whose squares are not: as a run would have them that no rule for values had refused."""
    huge = torch.full((1, 2, 2), 1e300, dtype=torch.float64) + torch.diag(torch.tensor([5e307, 1e307], dtype=torch.float64))
    for cap in (None, torch.ones(1, 2, dtype=torch.float64)):
        found = solve(QuadraticProgram(gramian=huge, linear=torch.tensor([[1e308, -1e308]], dtype=torch.float64), cap=cap))
        assert torch.isfinite(found.coefficients).all()
        assert found.is_converged.all() or found.residual.isinf().all()


@given(seed=SEEDS, strength=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_filter_drops_the_most_negative_first(seed, strength):
    problem = Problem(seed)
    scores = problem.weights * torch.einsum("bnd,bd->bn", problem.general, problem.target)
    update = problem.update(regularizer("filter", strength=strength))
    for block in range(BLOCKS):
        order = sorted(range(6), key=lambda i: -float(scores[block, i]))
        num_negative = int((scores[block] < 0).sum())
        kept = order[: 6 - num_negative + int(strength * num_negative + 0.5)]
        total = sum(problem.weights[i] for i in kept)
        expected = sum((problem.weights[i] / total * problem.general[block, i] for i in kept), torch.zeros(7).double())
        assert_same(update[block], expected)
    if strength == 1.0:
        assert_same(update, problem.mean)


@pytest.mark.parametrize("name", CONVEX)
def test_products_that_are_not_finite_are_named(name):
    problem = Problem(0)
    problem.general[0, 0, 0] = float("nan")
    with pytest.raises(
        NonFiniteProductsError,
        match=r"inner products in 1 of 3 blocks \(indices 0\), of the general examples with ids 1, are NaN",
    ):
        project(problem, name)


def test_gramian_is_needed():
    rows = GeneralRows(base_weights=torch.ones(1), example_ids=torch.zeros(1, dtype=torch.long), draw=0)
    with pytest.raises(AssertionError):
        regularizer("cone").coefficients(rows, Products(alignment=torch.ones(1, 1), target_sq=torch.ones(1)), [0])
