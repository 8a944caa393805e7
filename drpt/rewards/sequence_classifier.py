"""Loads a sequence classifier of transformers and computes its logits; `drpt.rewards.classifier` turns them into verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from drpt.models.limits import check_tokens, num_positions, num_tokens
from drpt.models.pretrained import POOLER, explained_loading, load_pretrained

# exclusive = exactly one label applies; independent = any number of labels applies; numbers = regression, no probabilities.
Kind = Literal["exclusive", "independent", "numbers"]


@dataclass(frozen=True, kw_only=True)
class SequenceClassifier:
    """A frozen classifier in float32, and its tokenizer."""

    model: Any  # Any, twice: transformers has no types
    tokenizer: Any
    labels: tuple[str, ...]  # names of the labels, by index
    kind: Kind
    batch_size: int
    max_length: int

    @torch.inference_mode()
    def logits(self, texts: Sequence[tuple[str, ...]]) -> list[list[float]]:
        """Compute the logits of texts; other texts affect them by rounding only.

        Args:
            texts: Texts or pairs of texts.

        Returns:
            Logits [text, label], in the order given.
        """
        encoded = [self._encode(text) for text in texts]
        # Texts of similar length share a batch, to save padding.
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
        if not encoded["input_ids"]:  # an empty text, to which the tokenizer adds no special tokens
            padding = {"input_ids": self.tokenizer.pad_token_id, "attention_mask": 1}
            encoded = {key: [padding.get(key, 0)] for key in encoded}
        largest, limit = max(encoded["input_ids"]), num_tokens(self.model.config)
        if largest >= limit:
            raise ValueError(
                f"a text contains token {largest} ({self.tokenizer.convert_ids_to_tokens(largest)!r}), but the classifier "
                f"{self.model.config._name_or_path} has {limit} embeddings. Use a model with its own tokenizer."
            )
        return encoded


def load_classifier(model: str, *, revision: str | None, device: str, batch_size: int, max_length: int) -> SequenceClassifier:
    """Load a classifier; random states are unchanged.

    Args:
        model: Hub name or folder.
        revision: Branch, tag or commit on the hub; None = main.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch_size: Number of texts in a forward pass.
        max_length: Largest number of tokens in a text.

    Returns:
        The classifier in float32 and evaluation mode.

    Raises:
        ValueError: The hub or the folder has no such model or no safetensors, its weights do not fit, or it needs code of its
            own; ``max_length`` or the tokenizer exceeds the model's limits; or the device does not exist.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: torch finds no GPU here. Set device=auto or cpu.")
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    classifier, tokenizer = _load_pretrained(model, revision or "main")
    limit = min(tokenizer.model_max_length, num_positions(classifier.config) or max_length)
    if max_length > limit:
        raise ValueError(f"max_length={max_length} must be at most {limit}, the longest text that {model} reads.")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(f"model={model}: its tokenizer has neither a padding token nor an end-of-text token.")
        tokenizer.pad_token = tokenizer.eos_token
    if classifier.config.pad_token_id is None:  # decoders find the last token of a text with it
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
    label = f"model={model}" if revision == "main" else f"model={model}, revision={revision}"
    with explained_loading(place, revision, label=label, kind="a sequence classifier"):
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        check_tokens(config, tokenizer, label=label)
        classifier = load_pretrained(
            AutoModelForSequenceClassification,
            place,
            label=label,
            seed=0,  # without effect, since a missing head is an error
            revision=revision,
            superfluous=[POOLER],  # RoBERTa's classifiers have their own head instead
        )
    return classifier, tokenizer


def _kind(config: Any) -> Kind:
    if config.problem_type == "regression":
        return "numbers"
    return "independent" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "exclusive"
