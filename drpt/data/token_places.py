"""Tokenizes rendered conversations with the character range of each token, and turns learned ranges into loss masks."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from drpt.models.chat_renderer import ChatTemplateError

Place = tuple[int, int]  # range of characters [start, stop)
_BYTE = re.compile(r"<0x([0-7][0-9A-F])>")  # token for an ASCII byte; larger bytes are parts of characters


def tokens_of(tokenizer: Any, text: str) -> tuple[list[int], list[Place]]:  # Any: transformers has no types
    """Encode a rendered conversation as `apply_chat_template` does, without adding special tokens.

    Args:
        tokenizer: Tokenizer of transformers.
        text: Rendered conversation, including the template's special tokens.

    Returns:
        Token ids, and the character range of each token. Tokens for parts of one character share its range; a token without
        characters has an empty range.
    """
    if not tokenizer.is_fast:
        ids = token_ids(tokenizer, text)
        return ids, _search(tokenizer, text, ids)
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    places: list[Place] = encoded["offset_mapping"]
    if any(start == stop for start, stop in places):
        places = _with_lone_spaces(text, places)
    return encoded["input_ids"], places


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Encode a rendered conversation without ranges; see `tokens_of`."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def mask_of(places: Sequence[Place], learned: Sequence[Place]) -> list[bool]:
    """Loss mask of the tokens that contain at least one learned character.

    As with the generation markers of transformers, a token across the border of a learned range is learned, since a model has
    to generate it. A token without characters is treated like the next token.

    Args:
        places: Character ranges of the tokens, in order.
        learned: Learned character ranges, in order and without overlap.

    Returns:
        Mask with one entry per token.
    """
    starts, stops = [place[0] for place in places], [place[1] for place in places]
    mask = [False] * len(places)
    for begin, end in learned:
        first = bisect_right(stops, begin)
        past = bisect_left(starts, end, lo=first)
        while 0 < first < past and places[first - 1] == (begin, begin):
            first -= 1
        mask[first:past] = [True] * (past - first)
    return mask


def check_decoding(tokenizer: Any, text: str, ids: Sequence[int], places: Sequence[Place], mask: Sequence[bool]) -> None:
    """Verify that the learned tokens decode to the text in their ranges, up to white space.

    Args:
        tokenizer: Tokenizer of transformers.
        text: Text that was encoded.
        ids: Token ids of the text.
        places: Character ranges of the tokens.
        mask: Mask of the learned tokens.

    Raises:
        ChatTemplateError: A run of learned tokens decodes to another text.
    """
    start = 0
    while True in mask[start:]:
        start = mask.index(True, start)
        stop = mask.index(False, start) if False in mask[start:] else len(mask)
        covered = text[places[start][0] : max(place[1] for place in places[start:stop])]
        written = _decode(tokenizer, ids[start:stop])
        # The tokenizer may change case, Unicode forms or unknown characters, so also compare with the re-encoded text.
        if written != _squeeze(covered) and written != _decode(tokenizer, token_ids(tokenizer, covered)):
            raise ChatTemplateError(
                f"the tokens of the assistant's text {covered[:40]!r} decode to another text ({written[:40]!r}), so they "
                "cannot be identified. Use a tokenizer with a tokenizer.json.",
                reason="ambiguous",
            )
        start = stop


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return _squeeze(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _with_lone_spaces(text: str, places: Sequence[Place]) -> list[Place]:
    """Give tokens for lone spaces, which some tokenizers leave without a range, the space in front of their position."""
    found, done = [], 0
    for start, stop in places:
        found.append((done if start == stop and text[done:start].isspace() else start, stop))
        done = max(done, stop)
    return found


def _search(tokenizer: Any, text: str, ids: Sequence[int]) -> list[Place]:
    """Locate tokens by searching for their texts in order; tokens without a text of their own share the gaps between others."""
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    places: list[Place] = []
    done, waiting = 0, 0
    for number, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        byte = _BYTE.fullmatch(token)
        surface = added.get(number) or (chr(int(byte[1], 16)) if byte else tokenizer.convert_tokens_to_string([token]))
        shown = surface if surface and text.startswith(surface, done) else surface.strip()
        found = text.find(shown, done) if shown and "\N{REPLACEMENT CHARACTER}" not in shown else -1
        if found < 0 or (not waiting and text[done:found].strip()):
            waiting += 1
            continue
        places += [(done, found)] * waiting
        places.append((found, found + len(shown)))
        done, waiting = found + len(shown), 0
    return places + [(done, len(text))] * waiting
