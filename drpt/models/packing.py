"""Checks that a model treats the texts of a packed row independently; called before training with ``data.packing=true``."""

from typing import Any

import torch

# Two rows of two texts, since some attention kernels support packed positions only in a batch of one row.
_LENGTHS = ((6, 7), (9, 4))
# Relative change of the logits. Rounding in float32 stays far below; states of recurrent or convolutional layers, or attention
# to the other text, change the logits far more.
_TOLERANCE = 1e-3


def check_packing(model: Any, *, label: str) -> None:  # Any: transformers has no types
    """Refuse a model whose logits differ between texts packed into one row and the same texts by themselves.

    Position ids that restart at 0 mark packed rows (see `drpt.data.batch.TokenBatch.model_inputs`). The texts are short, so
    effects of long rows, such as attention in chunks of thousands of tokens, are not checked.

    Args:
        model: Causal language model in float32; its mode is restored afterwards.
        label: Name of the model, for the message.

    Raises:
        ValueError: The logits differ, or the model refuses packed rows.
    """
    embedding = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(len(embedding), (len(_LENGTHS), sum(_LENGTHS[0])), generator=generator).to(embedding.device)
    positions = [torch.cat([torch.arange(length) for length in lengths]) for lengths in _LENGTHS]
    position_ids = torch.stack(positions).to(embedding.device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            texts = [text for row, lengths in zip(token_ids, _LENGTHS, strict=True) for text in row.split(lengths)]
            alone = torch.cat([model(input_ids=text[None], use_cache=False).logits[0] for text in texts])
            packed = model(input_ids=token_ids, position_ids=position_ids, use_cache=False).logits.flatten(0, 1)
    except Exception as error:  # models refuse arguments with errors of any type
        raise ValueError(_message(label, str(error))) from error
    finally:
        model.train(was_training)
    difference = float((packed - alone).abs().max() / alone.abs().max())
    if not difference <= _TOLERANCE:  # written this way, NaN is refused too
        raise ValueError(_message(label, f"logits change by {difference:.2g} of the largest one, {_TOLERANCE:g} is allowed"))


def _message(label: str, reason: str) -> str:
    return (
        f"data.packing=true: {label} mixes the examples of a packed row ({reason}). Recurrent and convolutional layers mix "
        "them, and so does attention that ignores position_ids. Set data.packing=false, or use a model such as Llama, Qwen, "
        "Gemma, GPT-2 or GPT-NeoX."
    )
