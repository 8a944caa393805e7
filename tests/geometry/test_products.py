"""Shapes of products are checked while tests run."""

import pytest
import torch

from drpt.geometry.products import Products


def test_shapes_are_checked_in_tests():
    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        Products(alignment=torch.ones(3), target_sq=torch.ones(3))
