"""What a set promises of itself is kept by its projection."""

import pytest

from drpt.geometry.catalogue import SETS
from tests.geometry.problems import Problem, any_projection


@pytest.mark.parametrize("name", SETS)
def test_promises_are_kept(name):
    """No coefficient where none is promised, no more examples than are said, and no product that was not asked for."""
    problem, rule = Problem(3), any_projection(name)
    found, promised = problem.found(rule), rule.feasible_set
    if not promised.uses_general:
        assert not found.general.any()
    if not promised.uses_target:
        assert not found.target.any()
    assert ((found.general != 0).sum(dim=1) <= promised.most_kept(6)).all()
    if not rule.needs_products:
        alone = rule.coefficients(problem.rows, None, range(3))
        assert (alone.general == found.general).all()
    if promised.needs_gramian:
        assert promised.needs_products
