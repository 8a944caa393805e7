"""Limits of a model's inputs, read from its configuration and checked before weights are loaded: tokens and positions."""

import logging
from typing import Any

_log = logging.getLogger(__name__)

_POSITIONS = ("max_position_embeddings", "max_seq_len")  # the second is the name in MPT
# Types of rotary scaling for which `max_position_embeddings` is the length before scaling (transformers and vLLM).
_STRETCHING = {"linear", "dynamic", "yarn"}
# Model types whose position ids start after the padding id.
_SHIFTED = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "xmod"}


class LimitError(ValueError):
    """A token id or a length exceeds what the model supports; the message names both numbers."""


def num_tokens(config: Any) -> int:  # Any, as all through this file: transformers has no types
    """Number of rows of the input embeddings; valid token ids are smaller."""
    return int(_text(config).vocab_size)


def num_positions(config: Any) -> int | None:
    """Largest number of tokens for which the model was built.

    Learned position tables have no more rows. Rotary embeddings can be computed for longer texts, but the model was not
    trained on them and vLLM refuses them, so the same limit applies unless the configuration scales them.

    Args:
        config: Configuration of a transformers model.

    Returns:
        The number of tokens; None if the configuration names no limit, as for recurrent models.
    """
    text = _text(config)
    for name in _POSITIONS:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            shift = text.pad_token_id + 1 if text.model_type in _SHIFTED and text.pad_token_id is not None else 0
            return max(value - shift, _stretched(text, value))
    return None


def check_positions(config: Any, *, label: str, wanted: int, option: str) -> None:
    """Refuse texts that are longer than the model's number of positions.

    Args:
        config: Configuration of a transformers model.
        label: Option that names the model, with its value, for messages.
        wanted: Number of tokens in the longest text.
        option: Option that sets this length, with its value, for messages.

    Raises:
        LimitError: The model has fewer positions.
    """
    positions = num_positions(config)
    if positions is not None and wanted > positions:
        raise LimitError(
            f"{option}: {label} has {positions} positions (max_position_embeddings in its config.json), fewer than the "
            f"{wanted} tokens that a text may have. Allow at most {positions} tokens, or use a model for longer texts (rotary "
            "positions can be scaled in its config.json)."
        )


def check_tokens(config: Any, tokenizer: Any, *, label: str) -> None:
    """Refuse a tokenizer with tokens for which the model has no embeddings.

    Unused special tokens without embeddings, such as Gemma's image tokens in its text models, are allowed and reported. A
    text that contains one is refused when it is encoded (`drpt.data.vocabulary`).

    Args:
        config: Configuration of a transformers model.
        tokenizer: Tokenizer of transformers.
        label: Option that names the model, with its value, for messages.

    Raises:
        LimitError: An ordinary token, or the padding, beginning or end token has no embedding.
    """
    limit = num_tokens(config)
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= limit}
    if not beyond:
        return
    known = f"{label}: the tokenizer's ids go up to {max(beyond)}, but the model has only {limit} embeddings"
    remedy = (
        f"Resize the model (model.resize_token_embeddings({max(beyond) + 1}), then save_pretrained) or use the model's own "
        "tokenizer."
    )
    added = tokenizer.added_tokens_decoder
    used = {"pad": tokenizer.pad_token_id, "eos": tokenizer.eos_token_id, "bos": tokenizer.bos_token_id}
    roles = [f"{role}_token {beyond[number]!r} ({number})" for role, number in used.items() if number in beyond]
    ordinary = [number for number in beyond if not (number in added and added[number].special)]
    if ordinary:
        raise LimitError(
            f"{known}. {len(ordinary)} ordinary tokens have none, such as {beyond[min(ordinary)]!r} ({min(ordinary)}). {remedy}"
        )
    if roles:
        raise LimitError(
            f"{known}. It has none for {', '.join(roles)}. Even masked padding is looked up. {remedy} With pad_token null in "
            "tokenizer_config.json, drpt pads with the end token."
        )
    names = ", ".join(list(beyond.values())[:4])
    _log.warning(
        "%s. Special tokens without an embedding: %d (%s). Texts that contain one are refused.", known, len(beyond), names
    )


def _text(config: Any) -> Any:
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def _stretched(config: Any, positions: int) -> int:
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [kind for kind in rope.values() if isinstance(kind, dict)] or [rope]  # one per type of attention, or one for all
    return max(
        (
            int(kind["factor"] * (kind.get("original_max_position_embeddings") or positions))
            for kind in kinds
            if kind.get("rope_type") in _STRETCHING and kind.get("factor")
        ),
        default=0,
    )
