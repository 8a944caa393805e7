"""A reward that is learned: a linear head on what a frozen sentence encoder makes of prompt and response.

Axes: row = prompts with a response each, dim = the encoder's 384. The features of a prompt p and a response r are

    φ(p, r) = [e(r), √dim · e(p) ⊙ e(r)],    e = the encoder's unit vectors,

so that the head can weigh what the response is like, and where it meets the prompt: all weights of the second half alike give
the cosine of the two. The factor √dim gives both halves entries of the same size. e(p) by itself and a bias are left out: both
are the same for two responses to one prompt, so that no preference could teach them anything.
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
    """``[e(r), √dim · e(p) ⊙ e(r)]``.

    Args:
        prompts: Encodings [row, dim].
        responses: Likewise.

    Returns:
        Features [row, 2 dim].
    """
    return torch.cat([responses, math.sqrt(prompts.shape[1]) * prompts * responses], dim=1)


class RewardModel(nn.Module):
    """Scores responses; higher is better, and only differences between responses to one prompt are learned.

    Args:
        encoder: Frozen; anything with ``dim`` and the methods of `SentenceEncoder`.
    """

    def __init__(self, encoder: Any) -> None:  # Any: tests have encoders of their own
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(2 * encoder.dim, 1, bias=False, dtype=torch.float32)  # whatever a trainer has made the default
        # The loss is convex in the head: where it starts is no matter of luck, and at 0 no response is preferred.
        nn.init.zeros_(self.head.weight)

    def features(self, prompts: Sequence[str], responses: Sequence[str], *, max_length: int) -> Tensor:
        """Encode texts; see the head of this file.

        Args:
            prompts: One a row.
            responses: One a row.
            max_length: Tokens of each text that are read.

        Returns:
            Features [row, 2 dim] on the CPU.
        """
        encoded = self.encoder.encode([*prompts, *responses], max_length=max_length)
        return match_features(encoded[: len(prompts)], encoded[len(prompts) :])

    def scores(self, features: Tensor) -> Tensor:
        """The head's score; linear, so that the score of a difference of features is the difference of scores.

        Args:
            features: Of rows, or differences of such [row, 2 dim].

        Returns:
            Scores [row], in nats of the Bradley–Terry model.
        """
        # An axis of one token: what the capture's linear rule measures are sequences.
        return self.head(features[:, None, :])[:, 0, 0]


def save_reward_model(head: nn.Linear, folder: Path, *, max_length: int, center: float) -> None:
    """Write a reward model: a folder that is whole or not there, in place of an older one.

    Args:
        head: Of a `RewardModel`.
        folder: Its place; the folder above is made if needed.
        max_length: See `RewardModelConfig`.
        center: Likewise.
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
    for leftover in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed
        shutil.rmtree(leftover)
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        half.chmod(0o755)  # temporary folders are their maker's alone
        save_file({"weight": head.weight.detach().float().cpu().contiguous()}, half / HEAD_FILE)
        (half / CONFIG_FILE).write_text(config.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(half, folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def load_reward_model(folder: Path) -> tuple[RewardModel, RewardModelConfig]:
    """Read a reward model with its encoder.

    Args:
        folder: See `save_reward_model`.

    Returns:
        The model, frozen, on the CPU, and how to use it.

    Raises:
        RewardFolderError: The folder holds no reward model, one of another format, one for another encoder, or one
            whose numbers are not finite.
        MissingEncoderError: The encoder's package is not installed.
    """
    config = read_reward_config(folder)
    if (config.encoder, config.encoder_version) != (PACKAGE, PACKAGE_VERSION):
        raise RewardFolderError(
            f"{folder}: made for the encoder {config.encoder} {config.encoder_version}, and this version of drpt has {PACKAGE} "
            f"{PACKAGE_VERSION}. Train the reward anew."
        )
    model = RewardModel(SentenceEncoder())
    try:
        state = load_file(folder / HEAD_FILE)
        model.head.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise RewardFolderError(f"{folder / HEAD_FILE}: cannot be read as a head of this encoder ({error}).") from error
    if not bool(model.head.weight.isfinite().all()):
        raise RewardFolderError(f"{folder / HEAD_FILE}: holds numbers that are not finite. Train the reward anew.")
    return model.requires_grad_(False).eval(), config
