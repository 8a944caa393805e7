"""What a sequence classifier from the Hugging Face hub, or from a folder, says of an answer.

Only what needs no model is here, so that a mistake is found before torch is imported; `drpt.rewards.sequence_classifier`
loads the model when the first answers come.
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
    "probability": "of the label, in [0, 1]: softmax over the labels, or a sigmoid each where they do not exclude each other",
    "logit": "the model's own output for the label, unbounded",
}
TEXTS = {
    "response": "the answer alone",
    "conversation": "the last user turn and the answer, as the tokenizer's pair of texts",
}
DEVICES = {"auto": "cuda where there is one, else cpu", "cpu": "always there", "cuda": "beside the policy"}


class ClassifierReward:
    """``sign`` times the probability or logit of one label.

    The outcome is the most likely label, as a word; where labels do not exclude each other (one label alone, or a model for
    several at once) ``none`` when each has at most 0.5, and ``scored`` of a model that gives numbers without probabilities.

    Not covered: models that want a chat template around the conversation, and code of their own.

    Args:
        model: Hub name or folder, with weights in safetensors.
        revision: Branch, tag or commit of the hub; None = main.
        label: Name or index of the label that counts.
        measure: A key of `MEASURES`.
        sign: 1 where the label is good, -1 where it is bad.
        text: A key of `TEXTS`.
        batch_size: Texts in one forward pass.
        device: A key of `DEVICES`.
        max_length: In tokens, special ones included; longer texts are cut at their end, of a pair the longer one first.
        is_toxicity: Whether the label tells of toxicity: its probability where it is bad, 1 minus it where it is good.

    Raises:
        ValueError: A value breaks its rule. That the model exists and has the label is not checked before the first answers.
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
        _check_count("batch_size", batch_size, low=1, meaning="texts in one forward pass")
        check_choice("device", device, DEVICES)
        _check_count("max_length", max_length, low=8, meaning="tokens of a text, special ones included")
        if not isinstance(is_toxicity, bool):
            raise ValueError(f"is_toxicity={is_toxicity!r} must be true or false: whether the label tells of toxicity.")
        self._model, self._revision, self._label = model, revision, label
        self._measure, self._sign, self._text = measure, sign, text
        self._batch_size, self._device, self._max_length = batch_size, device, max_length
        self._is_toxicity = is_toxicity

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`; the first call loads the model.

        Args:
            answers: In any number and order; what an answer is worth does not depend on the others (but for rounding).

        Returns:
            One verdict an answer.

        Raises:
            ValueError: The model cannot be loaded, has no such label, or says something that is no number.
        """
        if not answers:
            return []
        rows = self._classifier.logits([self._texts(answer) for answer in answers])
        return [self._verdict(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def prepare(self) -> None:
        """Load the model and find the label, before there are answers.

        Raises:
            ValueError: The model cannot be loaded, or has no such label.
        """
        self._place  # noqa: B018  # looks at the model

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
                f"measure={self._measure}, is_toxicity={self._is_toxicity}: {self._model} gives numbers (its problem_type is "
                "regression), of which there are no probabilities. Set measure=logit and is_toxicity=false."
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
            raise ValueError(f"model={self._model}: its logits {list(logits)} of {answer.text[:80]!r} are not all finite.")
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
    """Probabilities of labels of which one holds; any size of logit is fine."""
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def sigmoid(logit: float) -> float:
    """Probability of a label for itself; any size of logit is fine."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def _word(label: str, place: int) -> str:
    """A label's name as part of metrics' names: ``not offensive`` is ``not_offensive``."""
    return re.sub(r"\W+", "_", label).strip("_").lower() or f"label_{place}"


def _check_model(model: str) -> None:
    if not isinstance(model, str) or not model:
        raise ValueError(f"model={model!r} must be a hub name, or a folder with config.json.")
    # A name that begins like a path is a folder, and a missing folder must not become a question to the hub.
    if model.startswith((".", "/", "~")) and not (Path(model).expanduser() / "config.json").is_file():
        raise ValueError(f"model={model}: no such folder, or no config.json in it.")


def _check_count(option: str, value: int, *, low: int, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{option}={value!r} must be a whole number: {meaning}.")
    check_interval(option, value, low=low, meaning=meaning)
