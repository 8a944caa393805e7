"""A model's predictions of the tokens that count, without computing those of all others.

A vocabulary is large beside a hidden state (49,152 words to 576 numbers in SmolLM2-135M, where the output head is a fifth of
all multiplications), and prompts are much of a batch: their logits are looked at by nothing.
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
    """What a model says of a batch."""

    logits: Float[Tensor, "counted V"]  # at the places, in their order, in the model's dtype
    values: Float[Tensor, "row token"] | None  # of the text up to each token; None without a value head


def predict(
    model: Any,  # Any: transformers has no types
    inputs: Mapping[str, Tensor],
    places: Int[Tensor, " counted"],
) -> Predictions:
    """Logits at some positions.

    The output head is given the hidden states of these positions alone, unless its own parameters get gradients: products
    of examples' gradients are taken over the same tokens at every use of a parameter, and a tied one has other uses.

    Args:
        model: Causal language model, with a value head or without.
        inputs: What it takes, ``input_ids`` [row, token] among it.
        places: Numbers of the positions, the rows laid out one after another; those before the tokens that count are
            `drpt.objectives.counted.predicting_places`.

    Returns:
        The same numbers as the model's own output has at these places, but for rounding.

    Raises:
        RuntimeError: The model does not call its output head once, on the hidden states of all positions.
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
        return at_places(given[0], places)[None], *given[1:]  # as one row, since that is what models take logits to be made of

    handle = head.register_forward_pre_hook(pick)
    try:
        output = model(**inputs, use_cache=False)
    finally:
        handle.remove()
    if output.logits.shape[:2] != (1, len(places)):
        raise RuntimeError(_not_covered(model))
    return Predictions(logits=output.logits.squeeze(0), values=_values(output))


def _values(output: Any) -> Tensor | None:  # Any: whatever the model gives
    return output.values if isinstance(output, PolicyOutput) else None


def _not_covered(model: Any) -> str:
    return (
        f"{type(model).__name__} does not call its output head once, on the hidden states of all positions: such a model is "
        "not covered."
    )
