"""Checksums of the data that runs draw from: two runs with the same one may be averaged over seeds, others never."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from drpt.data.example import Example, Message
from drpt.data.source import Source

# Generators never end, and repeat themselves from their seeds: so many examples of a stream tell a changed one.
_OF_ENDLESS = 128
_SEED = 0


def source_fingerprint(source: Source) -> str:
    """A checksum of all that a source can draw, the same for every seed of a run.

    Args:
        source: Finite streams are read to their end; of a source that never ends, the first examples of each stream.

    Returns:
        64 hexadecimal digits, of the texts in the order of the source.
    """
    digest = hashlib.sha256()
    limit = _OF_ENDLESS if source.is_endless else None
    of_file = getattr(source, "stream_digest", None)
    for name in ("general", "target", "evaluation"):
        if of_file is not None and (known := of_file(name)) is not None:  # too large to be read for this
            digest.update(f"{name} {known}".encode())
            continue
        stream: Iterator[Example] = getattr(source, name)(_SEED)
        for example in islice(stream, limit):
            digest.update(example_line(name, example))
    return digest.hexdigest()


def example_line(stream: str, example: Example) -> bytes:
    """What a checksum takes in of an example: its texts, and whatever else a template or training makes use of.

    Args:
        stream: The stream or pool that the example belongs to.
        example: A conversation; of preferences, the rejected response counts too.

    Returns:
        One JSON value.
    """
    texts: list[list[Any]] = [_told(message) for message in example.messages]  # Any: JSON values
    if "rejected" in example.payload:  # of preferences
        texts.append(["rejected", str(example.payload["rejected"])])
    if example.tools:
        texts.append(["tools", *example.tools])
    if example.is_plain_text:
        texts.append(["plain text"])
    return json.dumps([stream, texts]).encode()


def _told(message: Message) -> list[Any]:  # Any: JSON values
    """Role and content, and only then other fields that are there: of examples without them, checksums are as ever."""
    turn = message.as_template_turn()
    others = {key: turn[key] for key in turn if key not in {"role", "content"}}
    if not message.is_learned:
        others["is_learned"] = False
    return [message.role, message.content, *([others] if others else [])]
