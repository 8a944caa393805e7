"""The direction that all losses agree on."""

import torch
from hypothesis import given, settings

from tests.geometry.problems import SEEDS, Problem, assert_small, projection
from tests.reference.quadratic_program import solve_by_enumeration


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_shortest_mixture_of_all_gradients(seed):
    problem = Problem(seed, n=3)
    update = problem.update(projection("mgda"))
    for g, v, found in zip(problem.general, problem.target, update, strict=True):
        rows = torch.cat([g, v[None]])
        cap = torch.ones(4, dtype=torch.float64)
        _, expected = solve_by_enumeration(rows, torch.zeros(7, dtype=torch.float64), cap=cap, sums_to_one=True)
        assert_small(found.square().sum() - expected)


@given(seed=SEEDS)
def test_no_example_loses(seed):
    """``<u, g> ≥ ‖u‖²`` for every gradient of the mixture."""
    problem = Problem(seed)
    update = problem.update(projection("mgda"))
    square = update.square().sum(dim=1)
    assert (torch.einsum("bnd,bd->bn", problem.general, update) >= square[:, None] - 1e-7).all()
    assert ((problem.target * update).sum(dim=1) >= square - 1e-7).all()
