"""Operations on whole weight matrices, and fused norms: they have rules of their own and need no copies of a matrix."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from drpt.capture.layers.shared_values.call import Call
from drpt.capture.layers.shared_values.embedding_options import refuse_options
from drpt.capture.layers.shared_values.shared_tensor import Matrix, SharedTensor, copies_of, plain

_PRODUCTS = frozenset(("linear", "matmul", "__matmul__", "mm", "addmm"))
_EMBEDDING = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")


class MatrixCall(Call):
    """Products with a weight matrix, look-ups in a table, their transposes and casts, and fused norms."""

    def _ruled(self) -> Any:
        """Products with a whole weight matrix, its transposes and casts, and fused norms; None for anything else."""
        name, args = self._name, self._args
        first = args[0] if args else None
        if isinstance(first, SharedTensor) and first._matrix is not None and len(self._shared) == 1 and not self._tensors:
            if name in {"t", "transpose", "swapaxes", "adjoint", "permute"}:
                return self._transposed(first)
            if name in {"to", "float", "double", "half", "bfloat16", "type", "contiguous"}:
                return self._cast(first)
        if name in _PRODUCTS and len(args) > 1:
            place = 2 if name == "addmm" else 1
            second = args[place] if len(args) > place else None
            if isinstance(second, SharedTensor) and second._matrix is not None:
                return self._product(second, second._matrix)
        if name == "embedding":
            given = dict(zip(_EMBEDDING, args, strict=False)) | self._kwargs
            table = given.pop("weight")
            if isinstance(table, SharedTensor) and table._matrix is not None and not table._matrix.is_transposed:
                refuse_options(
                    table._site, max_norm=given.get("max_norm"), scale_grad_by_freq=given.get("scale_grad_by_freq") or None
                )
                padding_idx = given.get("padding_idx")
                return table._matrix.look_up(
                    given["input"], padding_idx=None if padding_idx in {None, -1} else padding_idx, dtype=table.dtype
                )
        if name == "layer_norm":
            return self._norm(("input", "normalized_shape", "weight", "bias", "eps"), F.layer_norm)
        if name == "rms_norm":
            return self._norm(("input", "normalized_shape", "weight", "eps"), F.rms_norm)
        return None

    def _transposed(self, shared: SharedTensor) -> Any:
        with torch.no_grad():
            value = self._with(plain)
        assert shared._matrix is not None
        is_turned = value.shape == shared.shape[::-1] and value.stride() == plain(shared).stride()[::-1]
        matrix = replace(shared._matrix, is_transposed=shared._matrix.is_transposed != is_turned)
        return self._share(value, lambda: copies_of(shared).mT if is_turned else copies_of(shared), matrix)

    def _cast(self, shared: SharedTensor) -> Any:
        with torch.no_grad():
            value = self._with(plain)
        return self._share(value, lambda: copies_of(shared).to(value.dtype), shared._matrix)

    def _product(self, weight: SharedTensor, matrix: Matrix) -> Any:
        """``x Wᵀ`` or ``x W``, and what is added to it."""
        args, bias = self._args, self._kwargs.get("bias")
        if self._name == "addmm":
            if len(args) != 3 or self._kwargs:
                return None
            bias, x = args[0], args[1]
        else:
            x = args[0]
            bias = args[2] if len(args) > 2 else bias
        is_input_first = matrix.is_transposed == (self._name == "linear")
        product = matrix.product(x, is_input_first=is_input_first, dtype=weight.dtype)
        return product if bias is None else self._again(torch.add, (product, bias), {})

    def _norm(self, names: Sequence[str], function: Callable[..., Tensor]) -> Any:
        """A fused norm, which takes no scales of single rows: normalise first, then scale and shift."""
        given = dict(zip(names, self._args, strict=False)) | self._kwargs
        if isinstance(given["input"], SharedTensor):
            return None
        eps = {"eps": given["eps"]} if given.get("eps") is not None else {}
        normalised: Any = function(given["input"], given["normalized_shape"], **eps)
        dtype = normalised.dtype  # which torch's kernels keep, whatever that of scale and shift
        for name, operation in (("weight", torch.mul), ("bias", torch.add)):
            if given.get(name) is not None:
                normalised = self._again(operation, (normalised, given[name]), {})
        return normalised if normalised.dtype == dtype else normalised.to(dtype)
