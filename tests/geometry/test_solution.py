"""A solution claims nothing that it has not."""

import pytest
import torch

from drpt.geometry.solution import Solution


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_finite_is_a_failed_solve(value):
    """Whatever a solver meets: no NaN is handed out, and no zero that claims to be a solution."""
    found = Solution.of(torch.tensor([[1.0], [value]]), torch.tensor([0.0, value]), torch.zeros(2, dtype=torch.long))
    assert found.coefficients.tolist() == [[1.0], [0.0]]
    assert found.residual.tolist() == [0.0, float("inf")]
    assert found.is_converged.tolist() == [True, False]
