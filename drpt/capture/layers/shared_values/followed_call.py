"""One operation with shared values among its arguments; see `drpt.capture.layers.shared_values.shared_tensor`.

Axes: copy = row of the batch, or token where a row holds several examples.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from drpt.capture.layers.shared_values.alignment import aligned
from drpt.capture.layers.shared_values.general_call import GeneralCall
from drpt.capture.layers.shared_values.matrix_call import MatrixCall
from drpt.capture.layers.shared_values.shared_tensor import ORDINARILY, Matrix, SharedTensor, copies_of, plain
from drpt.capture.layers.site import RowAxis, Site, rows_in

_ARITHMETIC = "add sub mul div true_divide pow maximum minimum rsub where masked_fill"
_OPERATORS = "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __rdiv__ __pow__ __rpow__"
_BATCHED = "scaled_dot_product_attention"  # whatever has rows has them first
_ELEMENTWISE = "neg exp log tanh sigmoid relu silu gelu sqrt rsqrt square abs clamp float double half bfloat16 clone"
_BROADCASTING = frozenset(f"{_ARITHMETIC} {_OPERATORS} {_ELEMENTWISE} {_BATCHED}".split())
# Attributes of tensors, as torch names their look-up.
_TENSOR: Any = torch.Tensor
_REQUIRES_GRAD = _TENSOR.requires_grad.__get__
_WITHOUT_GRAPH = (_TENSOR.data.__get__, _TENSOR.grad.__get__)
_PLAIN = frozenset(("detach", "numpy", "tolist", "item", "__len__", "__repr__", "__hash__", "__format__"))


class _FollowedTensor(SharedTensor):
    """A shared value whose operations torch hands to this module."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # Any: whatever the operation returns
        """Run an operation on the copies as well."""
        with ORDINARILY():
            return run(func, args, kwargs or {})


def share(value: Tensor, make: Callable[[], Tensor], site: Site, matrix: Matrix | None = None) -> SharedTensor:
    """A shared value.

    Args:
        value: Tensor that the model sees; its gradient is not looked at.
        make: Function that makes the copies [copy, *shape] when they are first needed.
        site: Place of the module that the value comes from.
        matrix: Products with the value, where it is a weight matrix that was only transposed and cast; None for others.

    Returns:
        The value, in the shape of ``value``.
    """
    return _FollowedTensor._made(value, make, site, matrix)


def run(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the model gets from an operation.

    Args:
        func: The operation, as torch names it.
        args: Its arguments; some are shared.
        kwargs: Its keyword arguments; some may be shared.

    Returns:
        A shared value, or where the rows met, an ordinary tensor with rows.

    Raises:
        UnsupportedModuleError: The operation does not keep the rows apart, or nothing here can follow it.
    """
    return FollowedCall(func, args, kwargs).result()


class FollowedCall(MatrixCall, GeneralCall):
    """One operation with shared values among its arguments."""

    def result(self) -> Any:
        """See `Call.result`."""
        if not self._shared:
            return self._func(*self._args, **self._kwargs)
        if self._name in _PLAIN or not torch.is_grad_enabled():
            return self._with(plain)
        if self._name == "__get__":
            return self._attribute()
        if self._name == "__set__" or self._kwargs.get("out") is not None:
            raise self._refusal()
        found = self._ruled()
        if found is not None:
            return found
        if self._is_in_place():
            return self._in_place()
        if self._name.endswith("_like") or self._name.startswith("new_"):  # nothing of the value itself
            return self._with(plain)
        if self._name in _BROADCASTING or (self._name in {"to", "type"} and not self._tensors):
            return self._broadcast()
        if self._name in {"to", "type_as"} and isinstance(self._args[0], SharedTensor):  # as another tensor is
            return self._again(torch.Tensor.to, (self._args[0], self._tensors[0].device, self._tensors[0].dtype))
        if self._name == "dropout":
            return self._dropout()
        return self._general()

    def _attribute(self) -> Any:
        shared = self._shared[0]
        if self._func == _REQUIRES_GRAD:
            return True
        with torch.no_grad():
            found = self._with(plain)
        if not isinstance(found, Tensor) or self._func in _WITHOUT_GRAPH:
            return found
        if shared._matrix is not None:  # .T, .mT
            return self._transposed(shared)
        return self._general()

    # Elementwise operations need no copies of the rows.

    def _broadcast(self) -> Any:
        ndim = max(value.ndim for value in (*self._shared, *self._tensors))
        lead = self._lead(ndim)
        if lead is not None:
            return self._with(lambda value: aligned(value, ndim, lead) if isinstance(value, SharedTensor) else value)
        self._refuse_rowless()

        def make() -> Tensor:
            # One axis of copies before everything that broadcasts.
            return self._with(
                lambda value: (
                    copies_of(value).reshape(-1, *(1,) * (ndim - value.ndim), *value.shape)
                    if isinstance(value, SharedTensor)
                    else value
                )
            )

        with torch.no_grad():
            value = self._with(plain)
        return self._share(value, make)

    def _is_in_place(self) -> bool:
        name = self._name
        is_operator = name.startswith("__i") and name.endswith("__") and name not in {"__index__", "__invert__", "__int__"}
        return name == "__setitem__" or is_operator or (name.endswith("_") and not name.endswith("__"))

    def _in_place(self) -> Any:
        target = self._args[0]
        if isinstance(target, SharedTensor):
            name = self._name.strip("_")
            name = name[1:] if self._name.startswith("__i") else name
            function = getattr(torch.Tensor, {"truediv": "div"}.get(name, name), None)
            if function is None:
                raise self._refusal()
            changed = self._again(function, self._args, self._kwargs)
            if not isinstance(changed, SharedTensor) or changed.shape != target.shape:
                raise self._refusal()
            with torch.no_grad():
                target.data.copy_(plain(changed))
            target._copies, target._make, target._matrix = changed._copies, changed._make, None
            return target
        if self._name == "__setitem__":
            ndim = target[self._args[1]].ndim
            lead: Tensor | None = target[self._args[1]]
        else:
            ndim, lead = target.ndim, target
        assert lead is not None
        assert self._site is not None
        if rows_in(lead, self._site.layout) is RowAxis.NONE:
            raise self._refusal()
        return self._with(lambda value: aligned(value, ndim, lead) if isinstance(value, SharedTensor) else value)

    def _dropout(self) -> Any:
        """All rows share the mask, too."""
        with torch.no_grad():
            first = self._shared[0]
            options = {**dict(zip(("p", "training"), self._args[1:], strict=False)), **self._kwargs}
            options.pop("input", None)
            mask = self._func(torch.ones_like(plain(first)), options.get("p", 0.5), options.get("training", True))
        return self._again(torch.mul, (first, mask), {})
