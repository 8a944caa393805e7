"""Rules of reward modeling that bind several sections of a configuration together; no torch."""

from drpt.tasks.run_spec import RunSpec

_MAX_LENGTH = 512  # of drpt.models.sentence_encoder, which imports torch


def check_reward_modeling(spec: RunSpec) -> None:
    """Check that settings which have no effect on reward modeling are left as they are.

    Args:
        spec: Configuration whose sections are right by themselves.

    Raises:
        ValueError: A setting has a value that would have no effect.
    """
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
