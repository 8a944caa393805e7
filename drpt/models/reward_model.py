"""The learned reward model: a linear head on the features of a frozen sentence encoder; trained with ``task=reward``.

Axes: row = prompts with one response each, dim = dimension of the encoder, 384. The features of a prompt p and a response r are

    φ(p, r) = [e(r), √dim · e(p) ⊙ e(r)],    e = unit vectors of the encoder.

The first half describes the response, the second its match with the prompt; equal weights on the second half give their cosine
similarity. The factor √dim gives the entries of both halves the same scale. There is no e(p) alone and no bias: both are equal
for two responses to one prompt, so preferences cannot train their weights.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drpt.models.reward_folder import (
    CONFIG_FILE,
    FEATURES,
    FORMAT_VERSION,
    HEAD_FILE,
    RewardFolderError,
    RewardModelConfig,
    read_reward_config,
)
from drpt.models.sentence_encoder import PACKAGE, PACKAGE_VERSION, SentenceEncoder


def match_features(prompts: Tensor, responses: Tensor) -> Tensor:
    """Compute the features ``[e(r), √dim · e(p) ⊙ e(r)]``.

    Args:
        prompts: Unit vectors of the prompts [row, dim].
        responses: Unit vectors of the responses [row, dim].

    Returns:
        Features [row, 2 dim].
    """
    return torch.cat([responses, math.sqrt(prompts.shape[1]) * prompts * responses], dim=1)


class RewardModel(nn.Module):
    """Scores responses; higher is better, and only differences between responses to one prompt are meaningful.

    Args:
        encoder: Frozen encoder with ``dim`` and the methods of `SentenceEncoder`.
    """

    def __init__(self, encoder: Any) -> None:  # Any: tests use other encoders
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(2 * encoder.dim, 1, bias=False, dtype=torch.float32)  # float32 whatever the trainer's default
        # The loss is convex in the head, so no random start is needed; at 0 no response is preferred.
        nn.init.zeros_(self.head.weight)

    def features(self, prompts: Sequence[str], responses: Sequence[str], *, max_length: int) -> Tensor:
        """Encode texts to the features defined above.

        Args:
            prompts: Conversations before the response [row].
            responses: Texts of the responses [row].
            max_length: Largest number of tokens read of each text.

        Returns:
            Features [row, 2 dim] on the CPU.
        """
        encoded = self.encoder.encode([*prompts, *responses], max_length=max_length)
        return match_features(encoded[: len(prompts)], encoded[len(prompts) :])

    def scores(self, features: Tensor) -> Tensor:
        """Score features; the score is linear, so differences of features give differences of scores.

        Args:
            features: Features, or differences of features [row, 2 dim].

        Returns:
            Scores [row], in nats of the Bradley–Terry model.
        """
        # Add an axis of one token, since the gradient capture of linear layers expects sequences.
        return self.head(features[:, None, :])[:, 0, 0]


def save_reward_model(head: nn.Linear, folder: Path, *, max_length: int, center: float) -> None:
    """Write the folder of a reward model atomically, replacing an older one.

    Args:
        head: Head of a `RewardModel`.
        folder: Folder to write; its parent is created if necessary.
        max_length: Largest number of tokens of a text that the encoder reads.
        center: Constant subtracted from scores: midpoint between chosen and rejected training responses.
    """
    config = RewardModelConfig(
        format_version=FORMAT_VERSION,
        features=FEATURES,
        encoder=PACKAGE,
        encoder_version=PACKAGE_VERSION,
        max_length=max_length,
        center=center,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f".{folder.name}-*"):  # left by a process that was killed
        shutil.rmtree(leftover)
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        half.chmod(0o755)  # temporary folders are private by default
        save_file({"weight": head.weight.detach().float().cpu().contiguous()}, half / HEAD_FILE)
        (half / CONFIG_FILE).write_text(config.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(half, folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def load_reward_model(folder: Path) -> tuple[RewardModel, RewardModelConfig]:
    """Read a reward model and its encoder.

    Args:
        folder: Folder written by `save_reward_model`.

    Returns:
        The frozen model on the CPU, and its configuration.

    Raises:
        RewardFolderError: The folder has no reward model, one in another format or for another encoder, or one whose
            weights are not finite.
        MissingEncoderError: The encoder's package is not installed.
    """
    config = read_reward_config(folder)
    if (config.encoder, config.encoder_version) != (PACKAGE, PACKAGE_VERSION):
        raise RewardFolderError(
            f"{folder}: trained with the encoder {config.encoder} {config.encoder_version}, but this version of drpt has "
            f"{PACKAGE} {PACKAGE_VERSION}. Train the reward model again."
        )
    model = RewardModel(SentenceEncoder())
    try:
        state = load_file(folder / HEAD_FILE)
        model.head.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise RewardFolderError(f"{folder / HEAD_FILE}: cannot be read as a head of this encoder ({error}).") from error
    if not bool(model.head.weight.isfinite().all()):
        raise RewardFolderError(f"{folder / HEAD_FILE}: its weights are not all finite. Train the reward model again.")
    return model.requires_grad_(False).eval(), config
