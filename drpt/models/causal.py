"""Checks that a model is causal, so that a token's logits depend only on the text up to it; called when a model is loaded."""

from typing import Any

import torch

# Relative change of the logits. Rounding in float32 stays far below; a model that sees later tokens exceeds it (0.0025 in a
# randomly initialised BERT of two layers).
_TOLERANCE = 1e-4
_LENGTH = 6


def check_causal(model: Any, *, label: str) -> None:  # Any: transformers has no types
    """Refuse a model whose logits at earlier tokens change when the last token of a text changes.

    Encoders load as language models without an error (BERT with its masked-language-modeling head), although they see the
    token that they should predict.

    Args:
        model: Model in float32; its mode is restored afterwards.
        label: Option that names the model, with its value, for messages.

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
    if not difference <= _TOLERANCE:  # written this way, NaN is refused too
        raise ValueError(
            f"{label}: {type(model).__name__} is not a causal language model: its logits at earlier tokens change by "
            f"{difference:.2g} of the largest logit when the last token changes ({_TOLERANCE:g} is allowed). An encoder sees "
            "the tokens that it should predict. Use a model trained to continue texts."
        )
