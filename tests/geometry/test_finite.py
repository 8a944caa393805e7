"""Numbers that are NaN or infinite are named: what they are, and of which blocks and examples."""

import pytest
import torch

from drpt.geometry.products import GeneralRows, NonFiniteProductsError, Products
from tests.geometry.problems import (
    projection,
)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_products_that_are_not_finite_are_named(value):
    """With the block's index, not its place in the call, and the example's id."""
    rows = GeneralRows(base_weights=torch.tensor([0.5, 0.5]), example_ids=torch.tensor([30, 41]), step_index=0)
    products = Products(alignment=torch.tensor([[1.0, 1.0], [1.0, value]]), target_sq=torch.ones(2))
    message = r"inner products in 1 of 2 blocks \(indices 7\), of the general examples with ids 41, are NaN .*lr.*clip_norm"
    with pytest.raises(NonFiniteProductsError, match=message) as caught:
        projection("subset", strength=0.5).coefficients(rows, products, [4, 7])
    assert caught.value.blocks == (7,)
    assert caught.value.example_ids == (41,)


def test_a_target_that_is_not_finite_is_named():
    rows = GeneralRows(base_weights=torch.tensor([0.5, 0.5]), example_ids=torch.tensor([0, 1]), step_index=0)
    products = Products(alignment=torch.tensor([[1.0, 1.0]]), target_sq=torch.tensor([float("inf")]))
    with pytest.raises(NonFiniteProductsError, match=r"\(indices 0\), of the target examples, are NaN or infinite"):
        projection("l2rw").coefficients(rows, products, [0])
