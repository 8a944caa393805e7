"""Whether a model sees each of several texts in one row as if it were alone there."""

from typing import Any

import torch

# Two rows of two texts: some attention kernels read packed positions in a single row alone.
_LENGTHS = ((6, 7), (9, 4))
# Rounding in float32 stays far below; random states of recurrent and convolution layers, or text that attention should not
# see, come in at a share of the logits themselves.
_TOLERANCE = 1e-3


def check_packing(model: Any, *, label: str) -> None:  # Any: transformers has no types
    """Compare the logits of short texts, two in a row, with those of each alone.

    Rows are marked as packed by their positions, which restart at 0 (see `drpt.data.batch.TokenBatch.model_inputs`). Not
    checked: what only sets in with longer rows, as attention in chunks of thousands of tokens does.

    Args:
        model: Causal language model in float32; its mode is put back afterwards.
        label: Its name, for the message.

    Raises:
        ValueError: They differ, or the model refuses such rows.
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
    except Exception as error:  # a model may refuse an argument in whatever way it likes
        raise ValueError(_message(label, str(error))) from error
    finally:
        model.train(was_training)
    difference = float((packed - alone).abs().max() / alone.abs().max())
    if not difference <= _TOLERANCE:  # in these words NaN is refused too
        raise ValueError(_message(label, f"logits change by {difference:.2g} of the largest one, {_TOLERANCE:g} is allowed"))


def _message(label: str, reason: str) -> str:
    return (
        f"data.packing=true: {label} does not see each example of a packed row as if it were alone there ({reason}). Layers "
        "that carry a state or a convolution along the row mix examples, and so does attention that does not read "
        "position_ids. Set data.packing=false, or take a model such as Llama, Qwen, Gemma, GPT-2 or GPT-NeoX."
    )
