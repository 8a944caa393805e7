"""Modules that are given something all rows share: they run on one copy a row, and return one shared value."""

from collections.abc import Callable

from torch import Tensor

from drpt.capture.errors import ONE_A_ROW, UnsupportedModuleError
from drpt.capture.layers.shared_values.followed_call import share
from drpt.capture.layers.shared_values.shared_tensor import SharedTensor, copies_of, rows_of
from drpt.capture.layers.site import RowAxis, Site, check_rows


def by_rows(captured: Callable[[Tensor], Tensor], site: Site) -> Callable[[Tensor], Tensor]:
    """Let a captured forward that works on rows take inputs that all rows share, such as positions.

    The result has the shape that the module itself would give it.

    Args:
        captured: Takes [row, …] or [row · token, …]; one result for each entry of all axes but the last.
        site: The module's place.

    Returns:
        The forward for any input.
    """

    def forward(x: Tensor) -> Tensor:
        if isinstance(x, SharedTensor):
            if len(copies_of(x)) != site.layout.num_rows:
                raise UnsupportedModuleError(
                    f"{site.name}: its input is made of parameters alone, in a packed batch. {ONE_A_ROW}, or freeze it."
                )
            return _shared_result(captured, rows_of(x), tuple(x.shape), site)
        if check_rows(x, site) is RowAxis.NONE:
            shape = x.shape[1:] if x.ndim > 1 + int(x.is_floating_point()) and x.shape[0] == 1 else x.shape
            return _shared_result(captured, x.expand(site.layout.num_rows, *shape), tuple(x.shape), site)
        return captured(x)

    return forward


def _shared_result(captured: Callable[[Tensor], Tensor], rows: Tensor, shape: tuple[int, ...], site: Site) -> Tensor:
    results = captured(rows)
    width = results.shape[rows.ndim - int(rows.is_floating_point()) :]
    leading = shape if not rows.is_floating_point() else shape[:-1]
    copies = results.reshape(len(results), *leading, *width)
    return share(copies[0], lambda: copies, site)
