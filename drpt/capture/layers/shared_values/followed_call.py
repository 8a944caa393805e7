"""One operation with shared values among its arguments; see `drpt.capture.layers.shared_values.shared_tensor`.

Axes: copy = row of the batch, or token where a row holds several examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from drpt.capture.errors import FREEZE, UnsupportedModuleError
from drpt.capture.layers.shared_values.alignment import aligned, diagonal, joined, repeated, split
from drpt.capture.layers.shared_values.embedding_options import refuse_options
from drpt.capture.layers.shared_values.shared_tensor import ORDINARILY, Matrix, SharedTensor, copies_of, plain
from drpt.capture.layers.site import RowAxis, Site, rows_in

MOST_COPY_BYTES = 256 * 2**20  # of one value's copies

_ARITHMETIC = "add sub mul div true_divide pow maximum minimum rsub where masked_fill"
_OPERATORS = "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __rdiv__ __pow__ __rpow__"
_BATCHED = "scaled_dot_product_attention"  # whatever has rows has them first
_ELEMENTWISE = "neg exp log tanh sigmoid relu silu gelu sqrt rsqrt square abs clamp float double half bfloat16 clone"
_BROADCASTING = frozenset(f"{_ARITHMETIC} {_OPERATORS} {_ELEMENTWISE} {_BATCHED}".split())
# Attributes of tensors, as torch names their look-up.
_TENSOR: Any = torch.Tensor
_REQUIRES_GRAD = _TENSOR.requires_grad.__get__
_WITHOUT_GRAPH = (_TENSOR.data.__get__, _TENSOR.grad.__get__)
_PRODUCTS = frozenset(("linear", "matmul", "__matmul__", "mm", "addmm"))
_EMBEDDING = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
_REPEATING = frozenset(("expand", "expand_as", "repeat", "broadcast_to", "tile"))
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
        value: What the model sees; its gradient is not looked at.
        make: Makes the copies [copy, *shape] when they are first needed.
        site: Where it comes from.
        matrix: Set for a weight matrix that nothing has been done to but transposing and casting.

    Returns:
        The value, in the shape of ``value``.
    """
    shared = torch.Tensor._make_subclass(_FollowedTensor, value.detach(), True)
    with ORDINARILY():
        shared.register_hook(_refuse_lost(site))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    shared._site, shared._copies, shared._make, shared._matrix = site, None, make, matrix
    return shared


def _refuse_lost(site: Site) -> Callable[[Tensor], None]:
    def refuse(gradient: Tensor) -> None:
        raise UnsupportedModuleError(
            f"{site.name}: a value that all rows share passed through an operation that the capture cannot follow (compiled or "
            "custom code), so that its gradient would be lost. Freeze its parameters, or give the operation one value a row."
        )

    return refuse


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
    return _Call(func, args, kwargs).result()


class _Call:
    """One operation with shared values among its arguments."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._func = func
        self._name = getattr(func, "__name__", "")
        self._args = args
        self._kwargs = kwargs
        self._flat, self._structure = tree_flatten((args, kwargs))
        self._shared = [value for value in self._flat if isinstance(value, SharedTensor)]
        self._tensors = [value for value in self._flat if isinstance(value, Tensor) and not isinstance(value, SharedTensor)]
        self._site = self._shared[0]._site if self._shared else None

    def result(self) -> Any:
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
            return run(torch.Tensor.to, (self._args[0], self._tensors[0].device, self._tensors[0].dtype), {})
        if self._name == "dropout":
            return self._dropout()
        return self._general()

    def _with(self, change: Callable[[Any], Any]) -> Any:
        args, kwargs = tree_unflatten([change(value) for value in self._flat], self._structure)
        return self._func(*args, **kwargs)

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

    # Weight matrices and fused norms, which have rules of their own.

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
        return share(value, lambda: copies_of(shared).mT if is_turned else copies_of(shared), shared._site, matrix)

    def _cast(self, shared: SharedTensor) -> Any:
        with torch.no_grad():
            value = self._with(plain)
        return share(value, lambda: copies_of(shared).to(value.dtype), shared._site, shared._matrix)

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
        return product if bias is None else run(torch.add, (product, bias), {})

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
                normalised = run(operation, (normalised, given[name]), {})
        return normalised if normalised.dtype == dtype else normalised.to(dtype)

    # Elementwise operations need no copies of the rows.

    def _broadcast(self) -> Any:
        ndim = max(value.ndim for value in (*self._shared, *self._tensors))
        lead = self._lead(ndim)
        if lead is not None:
            return self._with(lambda value: aligned(value, ndim, lead) if isinstance(value, SharedTensor) else value)
        self._refuse_rowless()
        first = self._shared[0]

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
        return share(value, make, first._site)

    def _lead(self, ndim: int) -> Tensor | None:
        """The ordinary argument that says where the rows are in a result of so many axes."""
        assert self._site is not None
        for tensor in self._tensors:
            if tensor.ndim == ndim and rows_in(tensor, self._site.layout) is not RowAxis.NONE:
                return tensor
        return None

    def _refuse_rowless(self) -> None:
        for tensor in self._tensors:
            if tensor.requires_grad:
                raise UnsupportedModuleError(
                    f"{self._site.name if self._site else ''}: its output meets activations of shape {tuple(tensor.shape)} in "
                    f"{self._name}, in whose first axis the batch's rows cannot be found: its gradients cannot be told apart. "
                    "Freeze its parameters, or put the rows first."
                )

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
            changed = run(function, self._args, self._kwargs)
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
        return run(torch.mul, (first, mask), {})

    # Anything else, one copy at a time (vectorised).

    def _general(self) -> Any:
        assert self._site is not None
        layout = self._site.layout
        lead = [tensor for tensor in self._tensors if rows_in(tensor, layout) is not RowAxis.NONE]
        if lead:
            return self._row_by_row(rows_in(lead[0], layout))
        self._refuse_rowless()
        with torch.no_grad():
            seen = self._with(plain)
        results, structure = tree_flatten(seen)
        if not any(_is_differentiable(value) for value in results):
            return seen
        self._refuse_too_large(results)
        if self._name in _REPEATING and seen.shape[0] == layout.num_rows and not self._is_by_token():
            source = self._shared[0]
            if source.ndim < seen.ndim or source.shape[0] == 1:  # a row for everybody, made by the model
                return self._one_for_each_row(source, seen)
        made: list[list[Tensor]] = []

        def make(place: int) -> Tensor:
            if not made:
                made.append(tree_flatten(self._vmapped())[0])
            return made[0][place]

        wrapped = [
            share(value, lambda place=place: make(place), self._site)  # type: ignore[misc]  # a default binds the place
            if _is_differentiable(value)
            else value
            for place, value in enumerate(results)
        ]
        return tree_unflatten(wrapped, structure)

    def _vmapped(self) -> Any:
        """The operation for each copy of the shared values; the others are the same for all."""

        def one(copies: list[Tensor]) -> Any:
            given = iter(copies)
            return self._with(lambda value: next(given) if isinstance(value, SharedTensor) else value)

        return self._run(one, [copies_of(value) for value in self._shared])

    def _one_for_each_row(self, source: SharedTensor, seen: Tensor) -> Tensor:
        """``table.repeat(rows, …)`` and the like: row i of the result is made of copy i alone."""
        copies = copies_of(source)
        if source.ndim == seen.ndim:
            copies = copies.squeeze(1)
        if self._name in {"repeat", "tile"}:
            sizes = self._args[1:] if isinstance(self._args[1], int) else tuple(self._args[1])
            return repeated(copies, sizes)
        return copies.reshape(len(copies), *(1,) * (seen.ndim - copies.ndim), *copies.shape[1:]).expand(seen.shape)

    def _row_by_row(self, rows: RowAxis) -> Any:
        """The operation on each row, as a batch of one, with its own copies of the shared values."""
        assert self._site is not None
        layout = self._site.layout
        num_rows = layout.num_rows
        is_by_token = self._is_by_token()
        with_rows = [tensor for tensor in self._tensors if self._has_rows(tensor)]
        if is_by_token and any(tensor.ndim < 2 or tensor.shape[1] != layout.num_tokens for tensor in with_rows):
            raise self._refusal()
        parts: list[Tensor] = []
        for value in self._flat:
            if isinstance(value, SharedTensor):
                is_repeated = value.ndim > 0 and value.shape[0] == num_rows and rows is RowAxis.FIRST and not is_by_token
                parts.append(diagonal(copies_of(value))[:, None] if is_repeated else copies_of(value))
            elif self._has_rows(value):
                parts.append(split(value, num_rows, rows, is_by_token=is_by_token))

        def one(given: list[Tensor]) -> Any:
            of_one = iter(given)
            return self._with(lambda value: next(of_one) if isinstance(value, SharedTensor) or self._has_rows(value) else value)

        results, structure = tree_flatten(self._run(one, parts))
        rejoined = [joined(value, num_rows, rows, is_by_token=is_by_token) for value in results]
        if any(value is None for value in rejoined):
            raise self._refusal()
        return tree_unflatten(rejoined, structure)

    def _has_rows(self, value: Any) -> bool:
        assert self._site is not None
        return isinstance(value, Tensor) and rows_in(value, self._site.layout) is not RowAxis.NONE

    def _run(self, one: Callable[[list[Tensor]], Any], parts: list[Tensor]) -> Any:
        try:
            return torch.func.vmap(one, randomness="same")(parts)
        except UnsupportedModuleError:
            raise
        except (RuntimeError, ValueError, NotImplementedError) as error:
            raise self._refusal() from error

    def _is_by_token(self) -> bool:
        assert self._site is not None
        return any(len(copies_of(value)) != self._site.layout.num_rows for value in self._shared)

    def _refuse_too_large(self, results: Sequence[Any]) -> None:
        assert self._site is not None
        num_bytes = sum(value.nbytes for value in results if isinstance(value, Tensor)) * self._site.layout.num_rows
        if num_bytes > MOST_COPY_BYTES:
            raise self._refusal(f": one copy a row of what it returns would take {num_bytes / 2**20:.0f} MiB")

    def _refusal(self, why: str = "") -> UnsupportedModuleError:
        name = self._site.name if self._site else ""
        return UnsupportedModuleError(
            f"{name}: its parameters, or what it returns for all rows at once, pass through {self._name!r}, which has no rule "
            f"that keeps the rows' gradients apart{why}. {FREEZE}"
        )


def _is_differentiable(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
