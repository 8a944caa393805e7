"""The model as it was before training, to measure how far the policy has gone from it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class ReferenceModel:
    """Adapters are switched off, which needs no memory; a fully trained model is copied.

    Args:
        model: As training begins, before anything is loaded into it; its trained parameters require gradients.
    """

    def __init__(self, model: nn.Module) -> None:
        self._disable = getattr(model, "disable_adapter", None)
        self._model = model if self._disable is not None else copy.deepcopy(model).requires_grad_(False).eval()

    @contextmanager
    def active(self) -> Iterator[nn.Module]:
        """The reference, on the device of the policy, without gradients.

        Yields:
            A model to call; adapters are on again afterwards.
        """
        with torch.no_grad():
            if self._disable is None:
                yield self._model
            else:
                with self._disable():
                    yield self._model

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the copy, if there is one: a policy in lower precision would differ from it by rounding from the start."""
        if self._disable is None:
            self._model.to(device=device, dtype=dtype)
