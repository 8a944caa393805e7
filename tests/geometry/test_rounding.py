"""Rounding of float32 products is not taken for a direction."""

import pytest
import torch

from drpt.geometry.quadratic_program import QuadraticProgram
from drpt.geometry.solver import solve


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
