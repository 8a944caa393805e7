"""Rules of reward modeling that bind several sections of a configuration together; no torch."""

from typing import TYPE_CHECKING

from drpt.app.errors import NotForTaskError

if TYPE_CHECKING:
    from drpt.app.schema import RunSpec

_MAX_LENGTH = 512  # of drpt.models.sentence_encoder, which imports torch


def check_reward_modeling(spec: "RunSpec") -> None:
    """The encoder and its head go with task=reward and with nothing else; what this task has no use for stays as it is.

    Args:
        spec: Whose own sections are checked already.

    Raises:
        NotForTaskError: The encoder or its head is missing, or too many.
        ValueError: Two values do not go together.
    """
    is_reward = spec.task.name == "reward"
    for group, choice, is_own in (
        ("model", "sentence_encoder", spec.model.source == "sentence_encoder"),
        ("finetune", "head", spec.finetune.method == "head"),
    ):
        if is_reward and not is_own:
            raise NotForTaskError(
                f"task=reward trains a head on the sentence encoder: it needs {group}={choice}, its default; leave it so.",
                group=group,
            )
        if is_own and not is_reward:
            raise NotForTaskError(
                f"{group}={choice} goes with task=reward alone; task={spec.task.name} trains a causal language model.",
                group=group,
            )
    if not is_reward:
        return
    fixed = {
        "trainer.precision": (spec.trainer.precision, "32-true"),
        "trainer.micro_batches": (spec.trainer.micro_batches, 1),
        "data.packing": (spec.data.packing, False),
        "model.chat_template": (spec.model.chat_template, "own"),
        "model.chat_template_kwargs": (spec.model.chat_template_kwargs, {}),
        "model.gradient_checkpointing": (spec.model.gradient_checkpointing, False),
        "evaluation.num_generate": (spec.evaluation.num_generate, 0),
    }
    for option, (value, only) in fixed.items():
        if value != only:
            raise ValueError(
                f"{option}={value}: with task=reward it can only be {only}: a step is one small product, and nothing is "
                "generated."
            )
    if spec.data.max_length > _MAX_LENGTH:
        raise ValueError(
            f"data.max_length={spec.data.max_length}: the sentence encoder reads at most {_MAX_LENGTH} tokens a text."
        )
