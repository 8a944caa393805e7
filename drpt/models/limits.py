"""What a model can read, from its configuration: which tokens, and how many of them. Compared before weights are loaded."""

import logging
from typing import Any

_log = logging.getLogger(__name__)

_POSITIONS = ("max_position_embeddings", "max_seq_len")  # the second one is MPT's
# Rotary scaling whose `max_position_embeddings` is that before scaling, in the convention of transformers and vLLM.
_STRETCHING = {"linear", "dynamic", "yarn"}
# Positions of these begin after the one that stands for padding.
_SHIFTED = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "xmod"}


class LimitError(ValueError):
    """Something that a model would be given lies beyond its tables; the message names both numbers."""


def num_tokens(config: Any) -> int:  # Any, as all through this file: transformers has no types
    """Rows of the input embeddings: tokens have the numbers below."""
    return int(_text(config).vocab_size)


def num_positions(config: Any) -> int | None:
    """Tokens of a text that the model was made for.

    Learned tables have no more rows. Rotary embeddings can be computed beyond, but the model has never seen them there, and
    vLLM refuses them: they count alike, unless the configuration scales them.

    Args:
        config: Of a model of transformers.

    Returns:
        None where the configuration names no limit, as for recurrent models.
    """
    text = _text(config)
    for name in _POSITIONS:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            shift = text.pad_token_id + 1 if text.model_type in _SHIFTED and text.pad_token_id is not None else 0
            return max(value - shift, _stretched(text, value))
    return None


def check_positions(config: Any, *, label: str, wanted: int, option: str) -> None:
    """Refuse texts that are longer than the model's positions.

    Args:
        config: Of a model of transformers.
        label: The option that names the model and its value.
        wanted: Tokens of the longest text.
        option: What makes it so long, with its value.

    Raises:
        LimitError: There are fewer positions.
    """
    positions = num_positions(config)
    if positions is not None and wanted > positions:
        raise LimitError(
            f"{option}: {label} has {positions} positions (max_position_embeddings of its config.json), fewer than the "
            f"{wanted} tokens that a text may have. Give at most {positions} tokens, or take a model for longer texts (rotary "
            "positions can be scaled in its config.json)."
        )


def check_tokens(config: Any, tokenizer: Any, *, label: str) -> None:
    """Refuse a tokenizer that makes tokens which the model has no embeddings for.

    Special tokens out there that nobody uses, such as Gemma's for images in its text models, are allowed and reported; a text
    that holds one is refused once it is encoded (`drpt.data.vocabulary`).

    Args:
        config: Of a model of transformers.
        tokenizer: Tokenizer of transformers.
        label: The option that names the model and its value.

    Raises:
        LimitError: The padding token, one that begins or ends texts, or an ordinary one lies beyond the embeddings.
    """
    limit = num_tokens(config)
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= limit}
    if not beyond:
        return
    known = f"{label}: its tokenizer's tokens go up to number {max(beyond)}, and the model has {limit} embeddings"
    remedy = (
        f"Resize the model (model.resize_token_embeddings({max(beyond) + 1}), then save_pretrained) or take the tokenizer that "
        "belongs to it."
    )
    added = tokenizer.added_tokens_decoder
    used = {"pad": tokenizer.pad_token_id, "eos": tokenizer.eos_token_id, "bos": tokenizer.bos_token_id}
    roles = [f"{role}_token {beyond[number]!r} ({number})" for role, number in used.items() if number in beyond]
    ordinary = [number for number in beyond if not (number in added and added[number].special)]
    if ordinary:
        raise LimitError(
            f"{known}: {len(ordinary)} ordinary tokens have none, such as {beyond[min(ordinary)]!r} ({min(ordinary)}). {remedy}"
        )
    if roles:
        raise LimitError(
            f"{known}: none for its {', '.join(roles)}. Padding, too, is looked up before it is masked. {remedy} A pad_token "
            "that is null in tokenizer_config.json makes drpt pad with the end token, masked everywhere."
        )
    names = ", ".join(list(beyond.values())[:4])
    _log.warning("%s: none for %d special tokens (%s). A text that holds one is refused.", known, len(beyond), names)


def _text(config: Any) -> Any:
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def _stretched(config: Any, positions: int) -> int:
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [kind for kind in rope.values() if isinstance(kind, dict)] or [rope]  # of each kind of attention, or of all
    return max(
        (
            int(kind["factor"] * (kind.get("original_max_position_embeddings") or positions))
            for kind in kinds
            if kind.get("rope_type") in _STRETCHING and kind.get("factor")
        ),
        default=0,
    )
