"""Gramians whose entries were summed in float32, made ready for solving."""

import torch
from jaxtyping import Float
from torch import Tensor

_ROUGH_RIDGE = 2.0**-20  # times √n, of each diagonal entry: twice the largest error of a zero eigenvalue that was observed


def without_rounding(gramian: Float[Tensor, "block general general"]) -> Float[Tensor, "block general general"]:
    """Make a gramian symmetric and float64; one that was summed in float32 also gets a ridge as large as its rounding error.

    Eigenvalues smaller than that error may come out negative, and no solution follows from them. The error of K_ij is a share
    of ``‖g_i‖ ‖g_j‖``, so the ridge is a share of each K_ii; it grows like the largest eigenvalue of a random error, √n. The
    solution is then exact for gradients whose inner products differ from the given ones by no more than the ridge.

    Args:
        gramian: K [block, general, general] in any dtype.

    Returns:
        K in float64, ready to be solved with.
    """
    exact = gramian.double()
    exact = (exact + exact.mT) / 2
    if gramian.dtype is torch.float64:
        return exact
    ridge = _ROUGH_RIDGE * exact.shape[1] ** 0.5
    return exact + torch.diag_embed(ridge * torch.diagonal(exact, dim1=1, dim2=2))
