"""The model as it was before training, to measure how far the policy has gone from it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class ReferenceModel:
    """New adapters are switched off, which needs no memory; whatever else is trained is copied, and what is not is shared.

    A continued adapter is copied too: without it the model is what the policy was before that adapter was first trained.

    Args:
        model: As training begins, before anything is loaded into it; its trained parameters require gradients.
    """

    def __init__(self, model: nn.Module) -> None:
        self._disable = getattr(model, "disable_adapter", None) if _is_blank(model) else None
        self._model = model if self._disable is not None else _frozen_copy(model)

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


def _is_blank(model: nn.Module) -> bool:
    """Whether the model computes the same without its adapters: all that is trained are factors A, and factors B of zero."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    ends = (".lora_B.", ".lora_embedding_B.")
    return all(
        ".lora_" in name and (not any(end in name for end in ends) or not parameter.any()) for name, parameter in trained
    )


def _frozen_copy(model: nn.Module) -> nn.Module:
    shared = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    return copy.deepcopy(model, shared).requires_grad_(False).eval()
