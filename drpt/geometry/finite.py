"""Checks that no choice depends on NaN or infinite numbers, and that no coefficient is one.

`drpt.geometry.projection` checks the products once before every choice, and the coefficients once after it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from drpt.geometry.products import Coefficients, GeneralRows, NonFiniteProductsError, Products

_WAY_OUT = "the loss or a gradient has overflowed. Lower optimizer.lr, or set optimizer.clip_norm."
_SHOWN = 8  # numbers shown of a long list


def require_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinity among numbers whose blocks are not known.

    Args:
        values: Scores or estimates of any shape.
        name: What the values are, in the plural, for the message.

    Raises:
        NonFiniteProductsError: A value is NaN or infinite.
    """
    if not bool(torch.isfinite(values).all()):
        raise NonFiniteProductsError(
            f"{int((~torch.isfinite(values)).sum())} of {values.numel()} {name} are NaN or infinite: {_WAY_OUT}"
        )


def require_finite_products(products: Products, rows: GeneralRows, blocks: Sequence[int]) -> None:
    """Refuse products that are NaN or infinite, and name the blocks and examples that they come from.

    Args:
        products: Inner products of the blocks, one row a block.
        rows: The general examples.
        blocks: Index of each block in the partition.

    Raises:
        NonFiniteProductsError: A value is NaN or infinite.
    """
    found = [products.alignment, products.target_sq[:, None]]
    if products.gramian is not None:
        found.append(products.gramian.flatten(1))
    if bool(torch.isfinite(torch.cat(found, dim=1)).all()):
        return
    own = products.alignment if products.gramian is None else torch.diagonal(products.gramian, dim1=1, dim2=2)
    is_broken = ~torch.isfinite(torch.cat(found, dim=1)).all(dim=1)
    is_target = ~torch.isfinite(products.target_sq)
    is_example = ~torch.isfinite(own)
    if not bool(is_example.any() or is_target.any()):  # each length is finite, but a product of two of them is not
        is_example = ~torch.isfinite(products.alignment)
        if products.gramian is not None:
            is_example |= ~torch.isfinite(products.gramian).all(dim=2)
    of_target = "the target examples" if bool(is_target.any()) else ""
    _refuse("inner products", is_broken, is_example.any(dim=0), rows, blocks, of_target)


def require_finite_coefficients(coefficients: Coefficients, rows: GeneralRows, blocks: Sequence[int]) -> Coefficients:
    """Refuse coefficients that are NaN or infinite.

    Args:
        coefficients: Coefficients of the blocks, one row a block.
        rows: The general examples.
        blocks: Index of each block in the partition.

    Returns:
        The coefficients.

    Raises:
        NonFiniteProductsError: A value is NaN or infinite.
    """
    is_finite = torch.isfinite(torch.cat([coefficients.general, coefficients.target[:, None]], dim=1))
    if not bool(is_finite.all()):
        _refuse("coefficients", ~is_finite.all(dim=1), ~is_finite[:, :-1].all(dim=0), rows, blocks, "")
    return coefficients


def _refuse(name: str, is_broken: Tensor, is_example: Tensor, rows: GeneralRows, blocks: Sequence[int], of_target: str) -> None:
    broken = tuple(blocks[place] for place in is_broken.nonzero().squeeze(1).tolist())
    ids = tuple(rows.example_ids[is_example].tolist())
    whose = [of_target] if of_target else []
    if ids:
        whose.append(f"the general examples with ids {_listed(ids)}")
    of_whom = f", of {' and of '.join(whose)}," if whose else ""
    raise NonFiniteProductsError(
        f"{name} in {len(broken)} of {len(blocks)} blocks (indices {_listed(broken)}){of_whom} are NaN or infinite: {_WAY_OUT}",
        blocks=broken,
        example_ids=ids,
    )


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    return shown if len(numbers) <= _SHOWN else f"{shown}, … ({len(numbers)})"
