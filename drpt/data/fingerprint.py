"""Checksums of the data of runs; only runs with equal checksums are averaged over seeds."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from drpt.data.example import Example, Message
from drpt.data.source import Source

# Number of examples by which a stream that never ends is identified; the same seed gives the same examples.
_OF_ENDLESS = 128
_SEED = 0


def source_fingerprint(source: Source) -> str:
    """Checksum of all examples of a source, independent of the seed of a run.

    Args:
        source: Source whose finite streams are read to their end; of endless streams only the first examples are read.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    limit = _OF_ENDLESS if source.is_endless else None
    of_file = getattr(source, "stream_digest", None)
    for name in ("general", "target", "evaluation"):
        if of_file is not None and (known := of_file(name)) is not None:  # a large file, whose examples are not read here
            digest.update(f"{name} {known}".encode())
            continue
        stream: Iterator[Example] = getattr(source, name)(_SEED)
        for example in islice(stream, limit):
            digest.update(example_line(name, example))
    return digest.hexdigest()


def example_line(stream: str, example: Example) -> bytes:
    """The parts of an example that a checksum covers: its texts, and everything else that templates or training use.

    Args:
        stream: Name of the example's stream or pool.
        example: A conversation, plain text or preference.

    Returns:
        One JSON value.
    """
    texts: list[list[Any]] = [_turn(message) for message in example.messages]  # Any: JSON values
    if "rejected" in example.payload:  # a preference
        texts.append(["rejected", str(example.payload["rejected"])])
    if example.tools:
        texts.append(["tools", *example.tools])
    if example.is_plain_text:
        texts.append(["plain text"])
    return json.dumps([stream, texts]).encode()


def _turn(message: Message) -> list[Any]:  # Any: JSON values
    """Role and content, followed by other fields only if present, so that older checksums remain valid."""
    turn = message.as_template_turn()
    others = {key: turn[key] for key in turn if key not in {"role", "content"}}
    if not message.is_learned:
        others["is_learned"] = False
    return [message.role, message.content, *([others] if others else [])]
