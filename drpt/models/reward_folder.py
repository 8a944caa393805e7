"""What a trained reward model leaves in a folder, as far as it can be said without torch."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CONFIG_FILE = "config.json"
HEAD_FILE = "head.safetensors"
FORMAT_VERSION = 1  # raise it when the meaning of a field changes
FEATURES = "response_and_match"  # see drpt.models.reward_model.match_features


class RewardFolderError(ValueError):
    """A folder holds no reward model, or one of another format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelConfig:
    """How a head's score is computed from texts."""

    format_version: int
    features: str  # kind of features that the head weighs
    encoder: str  # package that carries the encoder
    encoder_version: str  # of the package
    max_length: int  # tokens of a text that the encoder reads
    center: float  # subtracted from scores: the middle between chosen and rejected responses of training

    def to_json(self) -> str:
        """As in the file."""
        return json.dumps(asdict(self), indent=1)


def read_reward_config(folder: Path) -> RewardModelConfig:
    """Look at a folder; the weights are there, but have not been read.

    Args:
        folder: ``reward_model`` in a run's folder.

    Returns:
        Its configuration.

    Raises:
        RewardFolderError: A file is missing or malformed, or the format is not the one that this version reads.
    """
    remedy = "Give the folder reward_model of a finished run of `drpt train task=reward`."
    for name in (CONFIG_FILE, HEAD_FILE):
        if not (folder / name).is_file():
            raise RewardFolderError(f"{folder}: no {name} there. {remedy}")
    try:
        found = json.loads((folder / CONFIG_FILE).read_text())
        version = found["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise RewardFolderError(
            f"{folder / CONFIG_FILE}: not the configuration of a reward model ({error}). {remedy}"
        ) from error
    if version != FORMAT_VERSION or found.get("features") != FEATURES:
        raise RewardFolderError(
            f"{folder / CONFIG_FILE}: format {version} with features {found.get('features')!r}, and this version of drpt reads "
            f"format {FORMAT_VERSION} with {FEATURES!r}. Train the reward anew."
        )
    wanted = {field.name: field.type for field in fields(RewardModelConfig)}
    wrong = [name for name, kind in wanted.items() if not _is_of(found.get(name), str(getattr(kind, "__name__", kind)))]
    if wrong:
        raise RewardFolderError(
            f"{folder / CONFIG_FILE}: the fields {', '.join(wrong)} are missing or of the wrong kind. {remedy}"
        )
    return RewardModelConfig(**{name: found[name] for name in wanted})


def _is_of(value: object, kind: str) -> bool:
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "str": (str,), "float": (int, float)}
    return isinstance(value, kinds[kind]) and not isinstance(value, bool)
