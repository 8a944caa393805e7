"""One operation with shared values among its arguments: what every way of running it needs.

Axes: copy = row of the batch, or token where a row holds several examples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from drpt.capture.errors import FREEZE, UnsupportedModuleError
from drpt.capture.layers.shared_values.shared_tensor import Matrix, SharedTensor, copies_of
from drpt.capture.layers.site import RowAxis, rows_in


class Call(ABC):
    """An operation and its arguments.

    Args:
        func: The operation, as torch names it.
        args: Its arguments; some are shared.
        kwargs: Its keyword arguments; some may be shared.
    """

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._func = func
        self._name = getattr(func, "__name__", "")
        self._args = args
        self._kwargs = kwargs
        self._flat, self._structure = tree_flatten((args, kwargs))
        self._shared = [value for value in self._flat if isinstance(value, SharedTensor)]
        self._tensors = [value for value in self._flat if isinstance(value, Tensor) and not isinstance(value, SharedTensor)]
        self._site = self._shared[0]._site if self._shared else None

    @abstractmethod
    def result(self) -> Any:
        """What the model gets: a shared value or, where the rows met, an ordinary tensor with rows."""

    def _again(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        """What the model would get from another operation."""
        return type(self)(func, args, kwargs or {}).result()

    def _share(self, value: Tensor, make: Callable[[], Tensor], matrix: Matrix | None = None) -> SharedTensor:
        """A shared value of the same module as the first shared argument; see `followed_call.share`."""
        assert self._site is not None
        return type(self._shared[0])._made(value, make, self._site, matrix)

    def _with(self, change: Callable[[Any], Any]) -> Any:
        args, kwargs = tree_unflatten([change(value) for value in self._flat], self._structure)
        return self._func(*args, **kwargs)

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

    def _has_rows(self, value: Any) -> bool:
        assert self._site is not None
        return isinstance(value, Tensor) and rows_in(value, self._site.layout) is not RowAxis.NONE

    def _is_by_token(self) -> bool:
        assert self._site is not None
        return any(len(copies_of(value)) != self._site.layout.num_rows for value in self._shared)

    def _refusal(self, why: str = "") -> UnsupportedModuleError:
        name = self._site.name if self._site else ""
        return UnsupportedModuleError(
            f"{name}: its parameters, or what it returns for all rows at once, pass through {self._name!r}, which has no rule "
            f"that keeps the rows' gradients apart{why}. {FREEZE}"
        )
