"""One module's place in the capture, as its rule sees it, and where the rows of a batch are in its activations.

Axes: row = rows of the batch, token = positions of a row, copy = row, or token where a row holds several examples.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from drpt.capture.errors import FREEZE, ONE_A_ROW, UnsupportedModuleError
from drpt.capture.gradients import UseGradient
from drpt.capture.segments import Layout
from drpt.capture.tokens import RecentTokens

Forward: TypeAlias = Callable[..., Any]  # Any: a module returns what it likes


@runtime_checkable  # for the shape checker of the tests
class Site(Protocol):
    """One module's place in the capture."""

    name: str  # qualified name of the module
    trained: frozenset[str]  # names of its own parameters that are trained: "weight", "bias"
    recent: RecentTokens  # knows activations that several modules share
    anchor: Tensor  # requires gradients; keeps nodes in the graph whose inputs do not

    @property
    def layout(self) -> Layout:
        """Where the examples are in the activations of now."""

    def announce(self, parameters: Sequence[str], num_bytes: int) -> None:
        """A use of these parameters has been put into the graph; its record will follow in the backward pass.

        Args:
            parameters: Names within the module.
            num_bytes: What the use would keep alive: activations and output gradients.
        """

    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        """The backward pass has reached the use."""


class RowAxis(Enum):
    """Where the rows of the batch are in a tensor."""

    FIRST = "first"  # [row, …]
    FLAT = "flat"  # [row · token, …], one row's tokens after another's
    NONE = "none"  # nowhere: all rows share it


def rows_in(x: Tensor, layout: Layout) -> RowAxis:
    """How the rows lie in a tensor, by its shape.

    A shape is a guess where sizes coincide; the capture's check (`drpt.capture.checking.check`) proves it.

    Args:
        x: Activations or token ids.
        layout: Where the batch's examples are in its activations.

    Returns:
        `RowAxis.FIRST` wherever the first axis has as many entries as there are rows.
    """
    if x.ndim == 0:
        return RowAxis.NONE
    if x.shape[0] == layout.num_rows:
        if x.ndim > 1 + int(x.is_floating_point()):
            layout.see_length(x.shape[1])
        return RowAxis.FIRST
    is_list = x.ndim == 1 + int(x.is_floating_point())
    return RowAxis.FLAT if is_list and layout.is_flat(x.shape[0]) else RowAxis.NONE


def check_rows(x: Tensor, site: Site) -> RowAxis:
    """How the rows lie in activations; refuses those in which the examples can no longer be found.

    Args:
        x: The module's input.
        site: The module's place.

    Returns:
        `RowAxis.FIRST` or `RowAxis.FLAT`; `RowAxis.NONE` for what does not depend on trained parameters, such as a table of
        constants.

    Raises:
        UnsupportedModuleError: Rows, or in a packed batch tokens, have been merged, moved or dropped before this module.
    """
    layout = site.layout
    rows = rows_in(x, layout)
    if rows is RowAxis.NONE and x.requires_grad:
        raise UnsupportedModuleError(
            f"{site.name}: input of shape {tuple(x.shape)}, but the batch has {layout.num_rows} rows. Its examples were "
            f"merged, moved or dropped before this layer, so that its gradients cannot be told apart. {FREEZE}"
        )
    if rows is RowAxis.FIRST and layout.is_packed and axis_of_tokens(x, site) != 1:
        raise UnsupportedModuleError(_no_axis_of_tokens(x, site))
    return rows


def axis_of_tokens(x: Tensor, site: Site) -> int:
    """Which axis of the activations of a packed batch counts tokens: 1, or 2 where heads come before them.

    Args:
        x: Activations, [row, token, …] or [row, head, token, …].
        site: The module's place.

    Returns:
        The axis.

    Raises:
        UnsupportedModuleError: None has the batch's number of tokens, or two have.
    """
    found = [axis for axis in range(1, x.ndim - int(x.is_floating_point())) if x.shape[axis] == site.layout.num_tokens]
    if len(found) != 1:
        raise UnsupportedModuleError(_no_axis_of_tokens(x, site))
    return found[0]


def _no_axis_of_tokens(x: Tensor, site: Site) -> str:
    return (
        f"{site.name}: input of shape {tuple(x.shape)}, but rows are packed with {site.layout.num_tokens} tokens, and one axis "
        f"alone, the first after the rows but for norms, must tell them apart. {ONE_A_ROW}, or freeze this layer."
    )
