"""Residuals tell a wrong point from the right one."""

import torch

from drpt.geometry.residuals import cone_residual, hull_residual, span_residual


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
