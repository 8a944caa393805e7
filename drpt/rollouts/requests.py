"""Checks of prompts and weights that the engines in this process share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.protocol import Sampling


def check_prompts(
    prompts: Sequence[Sequence[int]], sampling: Sampling, *, max_model_len: int, vocabulary: int, engine: str
) -> None:
    """Refuse prompts that an engine cannot answer.

    Args:
        prompts: Token ids of each prompt.
        sampling: Sampling settings; only ``max_tokens`` is used.
        max_model_len: Largest number of tokens of prompt and response together.
        vocabulary: Size of the vocabulary, which every token id must be below.
        engine: Name of the engine in the `rollout` group, for the message.

    Raises:
        RolloutError: A prompt is empty, is too long, or contains a token outside of the vocabulary.
    """
    longest = max_model_len - sampling.max_tokens
    for place, prompt in enumerate(prompts):
        if not 1 <= len(prompt) <= longest:
            raise RolloutError(
                f"rollout={engine}: prompt {place} has {len(prompt)} tokens; it needs at least 1 and at most {longest}, so "
                f"that a response of {sampling.max_tokens} fits into the engine's {max_model_len} (data.max_length). Shorten "
                "the prompt or lower rollout.max_tokens."
            )
        if not (min(prompt) >= 0 and max(prompt) < vocabulary):
            raise RolloutError(
                f"rollout={engine}: prompt {place} contains token {max(prompt) if min(prompt) >= 0 else min(prompt)}, but the "
                f"model's tokens are 0 to {vocabulary - 1}: the prompt was encoded by another tokenizer."
            )


def checked_weights(
    weights: Iterable[tuple[str, Tensor]], shapes: Mapping[str, torch.Size], *, engine: str
) -> Iterator[tuple[str, Tensor]]:
    """Pass weights on, checking that they are exactly those of the engine's model.

    Args:
        weights: Name and value of each weight.
        shapes: Shape of every weight of the engine, by name; tied weights once.
        engine: Name of the engine in the `rollout` group, for the message.

    Yields:
        Name and value of each weight, unchanged.

    Raises:
        RolloutError: The engine has no weight of this name and shape, a weight came twice, or one is missing at the end.
    """
    missing = set(shapes)
    for name, values in weights:
        if name not in missing or values.shape != shapes[name]:
            own = f"the shape {tuple(shapes[name])}" if name in missing else "no place" if name not in shapes else "it already"
            raise RolloutError(_other_model(engine, f"{name} of shape {tuple(values.shape)}, for which the engine has {own}"))
        missing.remove(name)
        yield name, values
    if missing:
        difference = f"no {min(missing)} and {len(missing) - 1} others of the engine's {len(shapes)}"
        raise RolloutError(_other_model(engine, difference))


def _other_model(engine: str, difference: str) -> str:
    return (
        f"rollout={engine}: the engine's model is not the policy's, which has {difference}. Build the engine from the "
        "policy's own folder (drpt.models.merged.save_for_engine)."
    )
