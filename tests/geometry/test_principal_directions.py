"""Principal directions against the singular vectors of the weighted gradients."""

import torch
from hypothesis import given, settings

from drpt.geometry.principal_directions import principal_directions
from tests.geometry.problems import BLOCKS, SEEDS, Problem, assert_close


@given(seed=SEEDS)
@settings(max_examples=20)
def test_directions_are_orthogonal_and_as_long_as_the_singular_values(seed):
    problem = Problem(seed, n=5)
    found = principal_directions(problem.rows, problem.products(), BLOCKS)
    for block in range(BLOCKS):
        scaled = problem.weights.sqrt()[:, None] * problem.general[block]
        values = torch.linalg.svdvals(scaled).square().flip(0)
        assert_close(found.values[block], values)
        directions = found.vectors[block].T @ scaled  # [direction, parameter]
        assert_close(directions @ directions.T, torch.diag(values))
        assert_close(found.alignment[block], directions @ problem.target[block])
        z = torch.arange(5, dtype=torch.float64)
        assert_close(found.combine(z.expand(BLOCKS, 5))[block] @ problem.general[block], z @ directions)
    assert found.is_real.all()


def test_directions_that_are_rounding_are_not_real():
    problem = Problem(0, n=5)
    problem.general[:, 1] = problem.general[:, 0]
    for dtype in (torch.float64, torch.float32):
        found = principal_directions(problem.rows, problem.products(dtype), BLOCKS)
        assert found.is_real.sum(dim=1).tolist() == [4] * BLOCKS
