"""A reward or judge by a sequence classifier from the Hugging Face hub or a folder.

This module does not import torch, so that mistakes in the configuration are found early; `drpt.rewards.sequence_classifier`
loads the model for the first answers.
"""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from drpt.checks import check_choice, check_interval, did_you_mean
from drpt.rewards.reward import Answer, Verdict

if TYPE_CHECKING:
    from drpt.rewards.sequence_classifier import SequenceClassifier

MEASURES = {
    "probability": "probability of the label, in [0, 1]: a softmax over exclusive labels, a sigmoid for independent ones",
    "logit": "logit of the label, unbounded",
}
TEXTS = {
    "response": "the answer only",
    "conversation": "the last user turn and the answer, as a pair of texts",
}
DEVICES = {"auto": "cuda if available, else cpu", "cpu": "the CPU", "cuda": "the GPU, which the policy uses too"}


class ClassifierReward:
    """``sign`` times the probability or logit of one label.

    The outcome is the name of the most likely label. For independent labels (a single label, or a multi-label model) it is
    ``none`` if no probability exceeds 0.5; for regression models, which have no probabilities, it is ``scored``.

    Models that need a chat template around the conversation, or code of their own, are not supported.

    Args:
        model: Hub name or folder, with weights in safetensors.
        revision: Branch, tag or commit on the hub; None = main.
        label: Name or index of the label to measure.
        measure: Quantity to measure, a key of `MEASURES`.
        sign: 1 if the label is good, -1 if it is bad.
        text: Text to classify, a key of `TEXTS`.
        batch_size: Number of texts in a forward pass.
        device: Device of the model, a key of `DEVICES`.
        max_length: Largest number of tokens, special ones included; longer texts are truncated at the end, and the longer text
            of a pair first.
        is_toxicity: Whether the label indicates toxicity, which is its probability if it is bad, else 1 minus it.

    Raises:
        ValueError: A value breaks its rule. Whether the model exists and has the label is checked with the first answers.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        label: str | int,
        measure: str,
        sign: int,
        text: str,
        batch_size: int,
        device: str,
        max_length: int,
        is_toxicity: bool,
    ) -> None:
        _check_model(model)
        if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
            raise ValueError(f"label={label!r} must be the name or index of one of the model's labels, such as nothate or 0.")
        check_choice("measure", measure, MEASURES)
        if isinstance(sign, bool) or sign not in {1, -1}:
            raise ValueError(f"sign={sign!r} must be 1 (the label is good) or -1 (it is bad).")
        check_choice("text", text, TEXTS)
        _check_count("batch_size", batch_size, low=1, meaning="number of texts in a forward pass")
        check_choice("device", device, DEVICES)
        _check_count("max_length", max_length, low=8, meaning="tokens of a text, special ones included")
        if not isinstance(is_toxicity, bool):
            raise ValueError(f"is_toxicity={is_toxicity!r} must be true or false: whether the label indicates toxicity.")
        self._model, self._revision, self._label = model, revision, label
        self._measure, self._sign, self._text = measure, sign, text
        self._batch_size, self._device, self._max_length = batch_size, device, max_length
        self._is_toxicity = is_toxicity

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Judge answers; the first call loads the model.

        Args:
            answers: Answers in any number and order; other answers affect a verdict by rounding only.

        Returns:
            Verdicts on the answers [answer], in their order.

        Raises:
            ValueError: The model cannot be loaded, lacks the label, or has an output that is not finite.
        """
        if not answers:
            return []
        rows = self._classifier.logits([self._texts(answer) for answer in answers])
        return [self._verdict(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def prepare(self) -> None:
        """Load the model and look up the label, before there are answers.

        Raises:
            ValueError: The model cannot be loaded, or lacks the label.
        """
        self._place  # noqa: B018  # loads the model

    def _texts(self, answer: Answer) -> tuple[str, ...]:
        if self._text == "response":
            return (answer.text,)
        asked = [message.content for message in answer.example.prompt if message.role == "user"]
        return (asked[-1] if asked else "", answer.text)

    @cached_property
    def _classifier(self) -> "SequenceClassifier":
        from drpt.rewards.sequence_classifier import load_classifier

        classifier = load_classifier(
            self._model,
            revision=self._revision,
            device=self._device,
            batch_size=self._batch_size,
            max_length=self._max_length,
        )
        if classifier.kind == "numbers" and (self._measure == "probability" or self._is_toxicity):
            raise ValueError(
                f"measure={self._measure}, is_toxicity={self._is_toxicity}: {self._model} has no probabilities, since its "
                "problem_type is regression. Set measure=logit and is_toxicity=false."
            )
        return classifier

    @cached_property
    def _place(self) -> int:
        """Index of the label."""
        labels = self._classifier.labels
        if isinstance(self._label, int) and 0 <= self._label < len(labels):
            return self._label
        if self._label in labels:
            return labels.index(str(self._label))
        known = ", ".join(f"{name!r} ({place})" for place, name in enumerate(labels))
        raise ValueError(
            f"label={self._label!r}: {self._model} has no such label.{did_you_mean(str(self._label), labels)} It has: {known}."
        )

    def _verdict(self, logits: Sequence[float], answer: Answer) -> Verdict:
        if not all(math.isfinite(logit) for logit in logits):
            raise ValueError(f"model={self._model}: its logits {list(logits)} for {answer.text[:80]!r} are not all finite.")
        kind, place = self._classifier.kind, self._place
        if kind == "numbers":
            return Verdict(value=self._sign * logits[place], outcome="scored")
        probabilities = softmax(logits) if kind == "exclusive" else [sigmoid(logit) for logit in logits]
        own = probabilities[place]
        top = max(range(len(logits)), key=logits.__getitem__)
        return Verdict(
            value=self._sign * (own if self._measure == "probability" else logits[place]),
            outcome="none" if kind == "independent" and probabilities[top] <= 0.5 else _word(self._classifier.labels[top], top),
            toxicity=None if not self._is_toxicity else own if self._sign < 0 else 1 - own,
        )


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities of mutually exclusive labels, computed without overflow."""
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def sigmoid(logit: float) -> float:
    """Probability of an independent label, computed without overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def _word(label: str, place: int) -> str:
    """A label's name in metric names: ``not offensive`` becomes ``not_offensive``."""
    return re.sub(r"\W+", "_", label).strip("_").lower() or f"label_{place}"


def _check_model(model: str) -> None:
    if not isinstance(model, str) or not model:
        raise ValueError(f"model={model!r} must be a hub name, or a folder with config.json.")
    # A name that looks like a path is a folder; a missing folder must not be looked up on the hub.
    if model.startswith((".", "/", "~")) and not (Path(model).expanduser() / "config.json").is_file():
        raise ValueError(f"model={model}: no such folder, or no config.json in it.")


def _check_count(option: str, value: int, *, low: int, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{option}={value!r} must be a whole number: {meaning}.")
    check_interval(option, value, low=low, meaning=meaning)
