"""The reference model: the policy before training, from which the KL divergence is measured."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class ReferenceModel:
    """Gives access to the policy as it was before training.

    For new adapters the reference is the policy with its adapters switched off, which needs no memory. Otherwise trained
    parameters are copied and frozen ones shared. This includes a continued adapter, which is part of the initial policy.

    Args:
        model: Policy at the start of training, before a checkpoint is loaded; its trained parameters require gradients.
    """

    def __init__(self, model: nn.Module) -> None:
        self._disable = getattr(model, "disable_adapter", None) if _is_blank(model) else None
        self._model = model if self._disable is not None else _frozen_copy(model)

    @contextmanager
    def active(self) -> Iterator[nn.Module]:
        """Provide the reference model, on the policy's device and without gradients.

        Yields:
            Reference model; the policy's adapters are switched on again afterwards.
        """
        with torch.no_grad():
            if self._disable is None:
                yield self._model
            else:
                with self._disable():
                    yield self._model

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the copy, if there is one, to the policy's device and dtype, so that rounding does not make them differ."""
        if self._disable is None:
            self._model.to(device=device, dtype=dtype)


def _is_blank(model: nn.Module) -> bool:
    """Whether the adapters have no effect yet: only LoRA factors are trained, and all factors B are zero."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    ends = (".lora_B.", ".lora_embedding_B.")
    return all(
        ".lora_" in name and (not any(end in name for end in ends) or not parameter.any()) for name, parameter in trained
    )


def _frozen_copy(model: nn.Module) -> nn.Module:
    shared = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    return copy.deepcopy(model, shared).requires_grad_(False).eval()
