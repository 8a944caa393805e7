"""What every engine of this process asks of prompts and weights before it begins."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.protocol import Sampling


def check_prompts(
    prompts: Sequence[Sequence[int]], sampling: Sampling, *, max_model_len: int, vocabulary: int, engine: str
) -> None:
    """Refuse what an engine could not answer.

    Args:
        prompts: Token ids.
        sampling: With the response's greatest length.
        max_model_len: Most tokens of prompt and response together.
        vocabulary: Token ids are below it.
        engine: Name of the engine in the `rollout` group, for the message.

    Raises:
        RolloutError: A prompt is empty, too long, or holds a token that the model does not know.
    """
    longest = max_model_len - sampling.max_tokens
    for place, prompt in enumerate(prompts):
        if not 1 <= len(prompt) <= longest:
            raise RolloutError(
                f"rollout={engine}: prompt {place} has {len(prompt)} tokens; it needs at least 1 and at most {longest}, so "
                f"that {sampling.max_tokens} of a response fit into the engine's {max_model_len} (data.max_length). Shorten "
                "the prompt or lower rollout.max_tokens."
            )
        if not (min(prompt) >= 0 and max(prompt) < vocabulary):
            raise RolloutError(
                f"rollout={engine}: prompt {place} holds token {max(prompt) if min(prompt) >= 0 else min(prompt)}, and the "
                f"model's {vocabulary} tokens begin at 0: the prompt comes from another tokenizer."
            )


def checked_weights(
    weights: Iterable[tuple[str, Tensor]], shapes: Mapping[str, torch.Size], *, engine: str
) -> Iterator[tuple[str, Tensor]]:
    """Hand weights on, and see that they are the model's, all of them.

    Args:
        weights: Name and values.
        shapes: Shape of every weight that the engine holds, by name; a tied weight once.
        engine: Name of the engine in the `rollout` group, for the message.

    Yields:
        Name and values, unchanged.

    Raises:
        RolloutError: A name or shape is not the engine's, or one is missing at the end.
    """
    missing = set(shapes)
    for name, values in weights:
        if name not in missing or values.shape != shapes[name]:
            own = f"the shape {tuple(shapes[name])}" if name in missing else "no place" if name not in shapes else "it already"
            raise RolloutError(
                _other_model(engine, f"{name} with the shape {tuple(values.shape)}, for which the engine has {own}")
            )
        missing.remove(name)
        yield name, values
    if missing:
        difference = f"no {min(missing)} and {len(missing) - 1} others of the engine's {len(shapes)}"
        raise RolloutError(_other_model(engine, difference))


def _other_model(engine: str, difference: str) -> str:
    return (
        f"rollout={engine}: the engine holds another model than the policy, which has {difference}. Build the engine from the "
        "policy's own folder (drpt.models.merged.save_for_engine)."
    )
