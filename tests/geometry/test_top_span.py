"""The subspace of the main directions."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.problems import (
    SEEDS,
    Problem,
    projection,
)
from tests.reference import sets


@given(seed=SEEDS, strength=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
def test_top_span_through_singular_vectors(seed, strength):
    problem = Problem(seed)
    rank = max(1, int((1 - strength) * 6 + 0.5))
    expected = problem.every_block(lambda g, v, w: sets.top_span(g, v, w, rank))
    torch.testing.assert_close(problem.update(projection("top_span", strength=strength)), expected, rtol=1e-8, atol=1e-8)
