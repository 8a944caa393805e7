"""Our solutions against solvers that others wrote: cvxpy for quadratic and conic programs, TorchJD for the dual cone."""

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd.aggregation import DualProj
from torchjd.linalg import QuadprogProjector

from tests.geometry.problems import BLOCKS, SEEDS, Problem, projection

# Interior-point solvers stop at about 1e-11 of the objective, so at its square root in the point itself.
TOLERANCE = 1e-5


def same(update, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(update.numpy(), expected, rtol=tolerance, atol=tolerance)


def solve(objective, constraints, gap=1e-11):
    cvxpy.Problem(objective, constraints).solve(solver=cvxpy.CLARABEL, tol_gap_abs=gap, tol_gap_rel=gap, tol_feas=gap)


@given(seed=SEEDS, n=st.integers(1, 9), strength=st.sampled_from([0.2, 0.5, 0.9]))
@settings(max_examples=15)
def test_hull_and_cone(seed, n, strength):
    problem = Problem(seed, n=n)
    hull = problem.update(projection("hull", strength=strength))
    cone = problem.update(projection("cone"))
    ridged = problem.update(projection("cone", strength=strength))
    omega = problem.weights.numpy()
    for block in range(BLOCKS):
        G, v = problem.general[block].numpy(), problem.target[block].numpy()
        c = cvxpy.Variable(n, nonneg=True)
        distance = cvxpy.sum_squares(G.T @ c - v)
        solve(cvxpy.Minimize(distance), [cvxpy.sum(c) == 1, c <= np.minimum(omega / strength, 1.0) + 1e-12])
        same(hull[block], G.T @ c.value)
        solve(cvxpy.Minimize(distance), [])
        same(cone[block], G.T @ c.value)
        size = float((omega * (G**2).sum(axis=1)).sum())
        solve(cvxpy.Minimize(distance + strength * size * cvxpy.sum(cvxpy.square(c) / omega)), [])
        same(ridged[block], G.T @ c.value)


@given(seed=SEEDS, n=st.integers(1, 9))
@settings(max_examples=15)
def test_dual_cone(seed, n):
    """DualProj of all gradients with the target as its preference; its own regularization is switched off."""
    problem = Problem(seed, n=n)
    update = problem.update(projection("dual_cone"))
    for block in range(BLOCKS):
        G, v = problem.general[block], problem.target[block]
        u = cvxpy.Variable(v.shape[0])
        solve(cvxpy.Minimize(cvxpy.sum_squares(u - v.numpy())), [G.numpy() @ u >= 0])
        same(update[block], u.value)
        # DualProj combines the rows of one matrix and keeps clear of all of them: v as a row is no constraint of ours,
        # and none that binds, since <u, v> = ‖u‖² ≥ 0 for the projection onto a cone.
        rows = torch.cat([G, v[None]])
        preference = torch.zeros(n + 1, dtype=torch.float64)
        preference[n] = 1.0
        projector = QuadprogProjector(norm_eps=0.0, reg_eps=1e-10)
        same(update[block], DualProj(pref_vector=preference, projector=projector)(rows).numpy())


@given(seed=SEEDS, strength=st.sampled_from([0.1, 0.5, 0.9]), kind=st.sampled_from(["plain", "zero row", "opposite rows"]))
@settings(max_examples=25)
def test_cagrad(seed, strength, kind):
    problem = Problem(seed, n=5)
    if kind == "zero row":  # the hull contains the origin
        problem.general[:, 2] = 0
    if kind == "opposite rows":
        problem.general[:, 3] = -problem.general[:, 1]
    update = problem.update(projection("cagrad", strength=strength))
    for block in range(BLOCKS):
        G, v = problem.general[block].numpy(), problem.target[block].numpy()
        u = cvxpy.Variable(len(v))
        within = [cvxpy.norm(u - v) <= strength * float(np.linalg.norm(v))]
        solve(cvxpy.Maximize(cvxpy.min(G @ u)), within, gap=1e-9)  # a cone: no further without complaints
        worst, expected = (G @ update[block].numpy()).min(), (G @ u.value).min()
        assert worst == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert np.linalg.norm(update[block].numpy() - v) <= strength * np.linalg.norm(v) * (1 + 1e-6)
        if kind == "plain":  # else there may be many
            same(update[block], u.value, tolerance=1e-3)  # the ball's surface is flat there


@given(seed=SEEDS, n=st.integers(1, 6))
@settings(max_examples=15)
def test_mgda(seed, n):
    problem = Problem(seed, n=n)
    update = problem.update(projection("mgda"))
    for block in range(BLOCKS):
        rows = torch.cat([problem.general[block], problem.target[block][None]]).numpy()
        c = cvxpy.Variable(n + 1, nonneg=True)
        solve(cvxpy.Minimize(cvxpy.sum_squares(rows.T @ c)), [cvxpy.sum(c) == 1])
        same(update[block], rows.T @ c.value)
