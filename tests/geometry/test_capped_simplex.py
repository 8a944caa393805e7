"""The projection onto the capped simplex."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drpt.geometry.capped_simplex import project_onto_capped_simplex
from tests.geometry.problems import (
    SEEDS,
)


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
