"""Reads the configuration of a saved reward model, without torch; `drpt.models.reward_model` reads and writes the weights."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CONFIG_FILE = "config.json"
HEAD_FILE = "head.safetensors"
FORMAT_VERSION = 1  # raise it when the meaning of a field changes
FEATURES = "response_and_match"  # features of drpt.models.reward_model.match_features


class RewardFolderError(ValueError):
    """A folder has no reward model, or one in another format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelConfig:
    """Configuration of a reward model: how its score is computed from texts."""

    format_version: int
    features: str  # name of the features that the head weighs
    encoder: str  # package that contains the encoder
    encoder_version: str  # version of the package
    max_length: int  # largest number of tokens of a text that the encoder reads
    center: float  # constant subtracted from scores: midpoint between chosen and rejected training responses

    def to_json(self) -> str:
        """Content of the configuration file."""
        return json.dumps(asdict(self), indent=1)


def read_reward_config(folder: Path) -> RewardModelConfig:
    """Read the configuration of a reward model; its weights are not read.

    Args:
        folder: Folder ``reward_model`` of a finished run.

    Returns:
        Configuration of the reward model.

    Raises:
        RewardFolderError: A file is missing or malformed, or this version of drpt does not read its format.
    """
    remedy = "Give the folder reward_model of a finished run of `drpt train task=reward`."
    for name in (CONFIG_FILE, HEAD_FILE):
        if not (folder / name).is_file():
            raise RewardFolderError(f"{folder}: there is no {name}. {remedy}")
    try:
        found = json.loads((folder / CONFIG_FILE).read_text())
        version = found["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise RewardFolderError(
            f"{folder / CONFIG_FILE}: not the configuration of a reward model ({error}). {remedy}"
        ) from error
    if version != FORMAT_VERSION or found.get("features") != FEATURES:
        raise RewardFolderError(
            f"{folder / CONFIG_FILE}: format {version} with features {found.get('features')!r}, but this version of drpt reads "
            f"format {FORMAT_VERSION} with {FEATURES!r}. Train the reward model again."
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
