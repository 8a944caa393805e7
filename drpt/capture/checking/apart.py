"""Whether examples stay apart: what is attributed to those whose losses are left out of a backward pass must vanish."""

from typing import NoReturn

import torch
from torch import Tensor

from drpt.capture.errors import FREEZE, UnsupportedModuleError
from drpt.capture.gradients import PerExampleGradient, UseGradient
from drpt.errors import NonFiniteGradientError

WAY_OUT = (
    f"{FREEZE} Or change the model, its loss or the batch. GradientCapture(…, check=False), on the command line "
    "trainer.check_capture=false, leaves the check out; the update may then be wrong."
)


def use_vanishes(path: str, name: str, use: UseGradient, chosen: frozenset[int]) -> None:
    """Require that nothing of a use is attributed to examples whose losses were left out.

    Args:
        path: The module's name.
        name: The parameter's name there.
        use: What the backward pass of the subset reached.
        chosen: Examples of the subset.

    Raises:
        UnsupportedModuleError: Something is.
    """
    places = [place for place, example in enumerate(use.segments.examples) if example not in chosen]
    if not places:
        return
    if isinstance(use, PerExampleGradient):
        sizes = use.grads[places].flatten(1) if use.grads.ndim > 1 else use.grads[places]
        is_other = bool((sizes != 0).any())
    else:
        slices = use.segments.slices()
        is_other = any(
            bool(((use.right.values[tokens] != 0).any(dim=-1) & _is_there(use.left.values[tokens])).any())
            for tokens in (slices[place] for place in places)
        )
    if is_other and not all(bool(torch.isfinite(values).all()) for values in _values(use)):
        refuse_not_finite(path)
    if is_other:
        raise UnsupportedModuleError(
            f"the capture's check failed: examples do not stay apart in {path or 'the model'}. Losses of the others were left "
            f"out, and something is attributed to them in {name} all the same: rows are sorted, merged, normalised or compared "
            "with each other inside the model or its loss, or another axis than the first counts the rows (as with inputs "
            f"[token, row, …], or a table with as many rows as the batch has). {WAY_OUT}"
        )


def _values(use: UseGradient) -> list[Tensor]:
    return [use.grads] if isinstance(use, PerExampleGradient) else [use.left.values, use.right.values]


def refuse_not_finite(path: str) -> NoReturn:
    """Stop for a gradient that is no number.

    Args:
        path: The module's name.

    Raises:
        NonFiniteGradientError: Always.
    """
    raise NonFiniteGradientError(
        f"{path}: its gradient is NaN or infinite although the losses are finite. Lower the learning rate, look for a "
        "division by zero or the square root of zero in the model or the loss, or compute in float32."
    )


def _is_there(values: Tensor) -> Tensor:
    return torch.ones_like(values, dtype=torch.bool) if values.ndim == 1 else (values != 0).any(dim=-1)
