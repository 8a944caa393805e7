"""Whether a model is a causal one: a token's logits depend on the text up to it alone."""

from typing import Any

import torch

# Rounding in float32 stays far below; a model that sees later tokens changes by a share of its logits (0.0025 in a random
# BERT of two layers).
_TOLERANCE = 1e-4
_LENGTH = 6


def check_causal(model: Any, *, label: str) -> None:  # Any: transformers has no types
    """Compare the logits of two texts that differ in their last token alone, at the tokens before it.

    Encoders load as language models without a word, all weights in place (BERT's with its masked-language-modeling head), and
    see the very token that they are asked to predict.

    Args:
        model: Causal language model in float32; its mode is put back afterwards.
        label: The option that named it and its value.

    Raises:
        ValueError: The logits differ.
    """
    embedding = model.get_input_embeddings().weight
    last = len(embedding) - 1
    text = torch.randint(len(embedding), (_LENGTH,), generator=torch.Generator().manual_seed(0))
    other = text.clone()
    other[-1] = last - text[-1] if last - text[-1] != text[-1] else 0
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(input_ids=torch.stack([text, other]).to(embedding.device), use_cache=False).logits[:, :-1].float()
    finally:
        model.train(was_training)
    difference = float((logits[0] - logits[1]).abs().max() / logits.abs().max().clamp_min(1e-30))
    if not difference <= _TOLERANCE:  # in these words NaN is refused too
        raise ValueError(
            f"{label}: {type(model).__name__} is no causal language model: what it says of a text's first tokens changes by "
            f"{difference:.2g} of the largest logit with the last one ({_TOLERANCE:g} is allowed). An encoder sees the tokens "
            "that it would have to predict. Take a model that was trained to go on with texts."
        )
