"""Finds examples that do not fit into a run's context, while its pools are drawn and before its model is loaded."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from drpt.data.drawing import ExclusionReason
from drpt.data.example import Example
from drpt.tasks.find import find_task
from drpt.tasks.run_spec import RunSpec

if TYPE_CHECKING:
    from drpt.data.fitting import Fitting  # imports torch


def exclusion_reason_for(spec: RunSpec) -> ExclusionReason | None:
    """A function that tells which examples training would not use.

    Args:
        spec: Checked configuration.

    Returns:
        A function as in `drpt.data.fitting`, which loads the tokenizer at its first call; None if all examples are used.
    """
    if find_task(spec.task.name).trains_encoder:  # encoders read the beginnings of long texts
        return None

    return _LazyFitting(spec)


class _LazyFitting:
    """Loads the tokenizer at the first call. If that fails, everything fits: loading the model will report the error."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec

    @cached_property
    def _fitting(self) -> "Fitting | None":
        from drpt.data.fitting import Fitting
        from drpt.models.chat_template import check_options
        from drpt.models.tokenizer import load_tokenizer

        spec = self._spec
        tokenizer = load_tokenizer(spec.model)
        if tokenizer is None:
            return None
        check_options(tokenizer, spec.model.chat_template_kwargs)
        room = longest_response(spec) if find_task(spec.task.name).draws_responses else None
        return Fitting(tokenizer, max_length=spec.data.max_length, max_new_tokens=room, options=spec.model.chat_template_kwargs)

    @property
    def words(self) -> Mapping[str, str]:
        return {} if self._fitting is None else self._fitting.words

    def __call__(self, example: Example) -> str | None:
        return None if self._fitting is None else self._fitting(example)


def longest_response(spec: RunSpec) -> int:
    """Tokens of the longest response drawn in training or evaluation; 0 if none is drawn."""
    return 0 if spec.rollout is None else max(spec.rollout.max_tokens, spec.evaluation.max_new_tokens)
