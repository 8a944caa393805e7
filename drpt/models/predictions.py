"""Computes a model's logits only at the positions that predict counted tokens; used by training steps and evaluation.

The vocabulary is much larger than the hidden state (49,152 to 576 in SmolLM2-135M, whose output head takes a fifth of all
multiplications), and the logits of prompts, a large part of a batch, are never used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from drpt.models.value_head import PolicyOutput, language_model, output_embeddings
from drpt.objectives.counted import at_places


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Logits, and values if the model has a value head."""

    logits: Float[Tensor, "counted V"]  # logits at the selected positions, in their order, in the model's dtype
    values: Float[Tensor, "row token"] | None  # value of the text up to and including each token; None without a value head


def predict(
    model: Any,  # Any: transformers has no types
    inputs: Mapping[str, Tensor],
    places: Int[Tensor, " counted"],
) -> Predictions:
    """Compute logits at selected positions.

    The output head receives only the hidden states of these positions, unless its parameters are trained: inner products of
    per-example gradients need the same tokens at every use of a parameter, and a tied parameter has other uses.

    Args:
        model: Causal language model, with or without a value head.
        inputs: Keyword arguments of the model, including ``input_ids`` [row, token].
        places: Flat indices of the positions [counted], with the rows concatenated; see
            `drpt.objectives.counted.predicting_places`.

    Returns:
        Logits that equal the model's own output at these positions up to rounding, and its values.

    Raises:
        RuntimeError: The model does not call its output head exactly once, on the hidden states of all positions.
    """
    head = output_embeddings(language_model(model))
    is_trained = torch.is_grad_enabled() and head is not None and any(p.requires_grad for p in head.parameters())
    if head is None or is_trained:
        output = model(**inputs, use_cache=False)
        return Predictions(logits=at_places(output.logits, places), values=_values(output))
    shape = inputs["input_ids"].shape

    def pick(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if given[0].shape[:2] != shape:
            raise RuntimeError(_not_covered(model))
        return at_places(given[0], places)[None], *given[1:]  # as one row, the shape that models expect

    handle = head.register_forward_pre_hook(pick)
    try:
        output = model(**inputs, use_cache=False)
    finally:
        handle.remove()
    if output.logits.shape[:2] != (1, len(places)):
        raise RuntimeError(_not_covered(model))
    return Predictions(logits=output.logits.squeeze(0), values=_values(output))


def _values(output: Any) -> Tensor | None:  # Any: models have outputs of different types
    return output.values if isinstance(output, PolicyOutput) else None


def _not_covered(model: Any) -> str:
    return (
        f"{type(model).__name__} is not supported: it does not call its output head exactly once on the hidden states of all "
        "positions."
    )
