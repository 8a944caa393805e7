"""A sequence classifier of transformers: loading it, and its logits of texts. Maths on them: `drpt.rewards.classifier`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from drpt.models.limits import LimitError, check_tokens, num_positions, num_tokens
from drpt.models.pretrained import POOLER, LoadingError, load_pretrained, refuse_adapter

# exclusive: one label holds; independent: each for itself; numbers: no probabilities.
Kind = Literal["exclusive", "independent", "numbers"]


@dataclass(frozen=True, kw_only=True)
class SequenceClassifier:
    """A model in float32 that is never trained, and its tokenizer."""

    model: Any  # Any, twice: transformers has no types
    tokenizer: Any
    labels: tuple[str, ...]  # by index
    kind: Kind
    batch_size: int
    max_length: int

    @torch.inference_mode()
    def logits(self, texts: Sequence[tuple[str, ...]]) -> list[list[float]]:
        """What the model says of each text, whatever the others are (but for rounding).

        Args:
            texts: Each one text or a pair.

        Returns:
            One row a text, in the order given; one number a label.
        """
        encoded = [self._encode(text) for text in texts]
        # Texts of like length share a batch, so that little is padded.
        order = sorted(range(len(texts)), key=lambda place: len(encoded[place]["input_ids"]))
        rows: list[list[float]] = [[] for _ in texts]
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            batch = self.tokenizer.pad([encoded[place] for place in places], return_tensors="pt").to(self.model.device)
            for place, row in zip(places, self.model(**batch).logits.double().tolist(), strict=True):
                rows[place] = row
        return rows

    def _encode(self, text: tuple[str, ...]) -> dict[str, list[int]]:
        encoded = dict(self.tokenizer(*text, truncation=True, max_length=self.max_length))
        if not encoded["input_ids"]:  # an empty text where the tokenizer adds nothing
            padding = {"input_ids": self.tokenizer.pad_token_id, "attention_mask": 1}
            encoded = {key: [padding.get(key, 0)] for key in encoded}
        largest, limit = max(encoded["input_ids"]), num_tokens(self.model.config)
        if largest >= limit:
            raise ValueError(
                f"a text holds token {largest} ({self.tokenizer.convert_ids_to_tokens(largest)!r}), and the classifier "
                f"{self.model.config._name_or_path} has {limit} embeddings: take a model whose tokenizer is its own."
            )
        return encoded


def load_classifier(model: str, *, revision: str | None, device: str, batch_size: int, max_length: int) -> SequenceClassifier:
    """Load a classifier; random states are left as they were.

    Args:
        model: Hub name or folder.
        revision: Of the hub; None = main.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch_size: Texts in one forward pass.
        max_length: In tokens.

    Returns:
        The model in float32 and evaluation mode.

    Raises:
        ValueError: The hub or the folder has no such model, no safetensors, other weights than a classifier's, or needs code
            of its own; its texts are shorter, or its tokenizer is larger; or there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: torch finds no GPU here. Set device=auto or cpu.")
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    classifier, tokenizer = _load_pretrained(model, revision or "main")
    limit = min(tokenizer.model_max_length, num_positions(classifier.config) or max_length)
    if max_length > limit:
        raise ValueError(f"max_length={max_length} must be at most {limit}: {model} reads no longer texts.")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(f"model={model}: its tokenizer has no token to pad with, nor one that ends a text.")
        tokenizer.pad_token = tokenizer.eos_token
    if classifier.config.pad_token_id is None:  # decoders look with it for a text's last token
        classifier.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.padding_side = tokenizer.truncation_side = "right"  # a token's position does not depend on the batch
    config = classifier.config
    return SequenceClassifier(
        model=classifier.to(place).eval().requires_grad_(False),
        tokenizer=tokenizer,
        labels=tuple(str(config.id2label[index]) for index in range(config.num_labels)),
        kind=_kind(config),
        batch_size=batch_size,
        max_length=max_length,
    )


def _load_pretrained(model: str, revision: str) -> tuple[Any, Any]:  # Any: transformers has no types
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = str(Path(model).expanduser()) if model.startswith("~") else model
    label = f"model={model}"
    try:
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        check_tokens(config, tokenizer, label=label)
        classifier = load_pretrained(
            AutoModelForSequenceClassification,
            place,
            label=label,
            seed=0,  # nothing is drawn: a head that is missing is an error
            revision=revision,
            superfluous=[POOLER],  # RoBERTa's classifiers have a head of their own instead
        )
    except (LimitError, LoadingError):
        raise
    except (OSError, ValueError) as error:
        refuse_adapter(place, revision, label=label)  # which has no config.json on the hub
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model={model}, revision={revision}: cannot be loaded ({reason}). It must be a sequence classifier of "
            "transformers with weights in safetensors that needs no code of its own: a hub name, or a folder with config.json, "
            "model.safetensors and tokenizer files."
        ) from error
    return classifier, tokenizer


def _kind(config: Any) -> Kind:
    if config.problem_type == "regression":
        return "numbers"
    return "independent" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "exclusive"
