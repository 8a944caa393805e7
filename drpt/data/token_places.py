"""Tokens of a text and the places where they stand in it, and from places that are learned to a mask over tokens."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from drpt.models.chat_renderer import ChatTemplateError

Place = tuple[int, int]  # characters [start, stop)
_BYTE = re.compile(r"<0x([0-7][0-9A-F])>")  # a token for a character that the vocabulary lacks; above, parts of one


def tokens_of(tokenizer: Any, text: str) -> tuple[list[int], list[Place]]:  # Any: transformers has no types
    """Encode a rendered conversation as `apply_chat_template` does: once, and without tokens of the tokenizer's own.

    Args:
        tokenizer: Tokenizer of transformers.
        text: With the template's special tokens in it.

    Returns:
        Token ids, and the place of each. Tokens that stand for parts of one character have its place; one that stands for no
        character has an empty place.

    Raises:
        ChatTemplateError: A tokenizer without places of its own makes tokens that are not found in the text.
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
    """The ids alone; see `tokens_of`."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def mask_of(places: Sequence[Place], learned: Sequence[Place]) -> list[bool]:
    """Which tokens are learned: those that stand for at least one learned character.

    A token that lies across the beginning or the end of a learned place is learned, as under the generation markers of
    transformers: whoever writes the text has to write it. A token without a character goes with the one after it.

    Args:
        places: Of the tokens, in the order of the text.
        learned: Places in order, without overlap.

    Returns:
        One truth value a token.
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
    """See that the learned tokens are the text that they stand for.

    White space is not compared: some tokenizers write it otherwise.

    Args:
        tokenizer: Tokenizer of transformers.
        text: That was encoded.
        ids: Its tokens.
        places: Where they stand.
        mask: The learned ones.

    Raises:
        ChatTemplateError: A run of learned tokens decodes to another text.
    """
    start = 0
    while True in mask[start:]:
        start = mask.index(True, start)
        stop = mask.index(False, start) if False in mask[start:] else len(mask)
        covered = text[places[start][0] : max(place[1] for place in places[start:stop])]
        written = _decode(tokenizer, ids[start:stop])
        # Lower case, Unicode forms and unknown characters are the tokenizer's business: both ways are compared, then.
        if written != _squeeze(covered) and written != _decode(tokenizer, token_ids(tokenizer, covered)):
            raise ChatTemplateError(
                f"the tokens of the assistant's text {covered[:40]!r} decode to another text ({written[:40]!r}), so that they "
                "cannot be told from others. Take a tokenizer with a tokenizer.json.",
                reason="ambiguous",
            )
        start = stop


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return _squeeze(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _with_lone_spaces(text: str, places: Sequence[Place]) -> list[Place]:
    """Some tokenizers leave spaces out of places, so that a lone space has none: it gets the one before where it stands."""
    found, done = [], 0
    for start, stop in places:
        found.append((done if start == stop and text[done:start].isspace() else start, stop))
        done = max(done, stop)
    return found


def _search(tokenizer: Any, text: str, ids: Sequence[int]) -> list[Place]:
    """Places by what each token is as a text, in order; tokens that are no text by themselves share what lies between."""
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
