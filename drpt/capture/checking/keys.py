"""What a proof about a module depends on: when any of it changes, the proof is given again."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from drpt.capture.layers.shared_values.shared_tensor import SharedTensor
from drpt.capture.layers.site import rows_in
from drpt.capture.segments import Layout

Key: TypeAlias = tuple[str, str, int, tuple[int, ...]]  # of a module and its input: see `key_of`


def first_tensor(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """A module's input: the first tensor among its arguments."""
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)


def key_of(path: str, module: nn.Module, x: Tensor | None, layout: Layout) -> Key:
    """What a proof about a module depends on.

    Args:
        path: The module's name.
        module: The module.
        x: Its input.
        layout: Where the batch's examples are in its activations.

    Returns:
        The name, the number of rows, how they lie in the input, how many axes it has, and which are as long as the batch has
        rows; −1 where one of the module's own parameters or buffers is as long as all rows' tokens together.
    """
    own = (*module._parameters.values(), *module._buffers.values())
    is_own = any(layout.is_flat(size) for value in own if value is not None for size in value.shape[:1])
    coincidence = (layout.num_rows, -1) if is_own else (layout.num_rows,)
    if x is None:
        return (path, "none", 0, coincidence)
    if isinstance(x, SharedTensor):
        return (path, "shared", x.ndim, coincidence)
    rows = f"{rows_in(x, layout).value}{' packed' if layout.is_packed else ''}"
    return (path, rows, x.ndim, (*coincidence, *(axis for axis, size in enumerate(x.shape) if size == layout.num_rows)))
