"""Puts a supervised run together."""

from drpt.capture.options import ChoiceScope
from drpt.data.module import PostTrainingData
from drpt.data.split import StepSplit
from drpt.data.vocabulary import check_token_ids
from drpt.models.limits import check_positions, num_tokens
from drpt.models.packing import check_packing
from drpt.modules.evaluation import HeldOutEvaluation
from drpt.modules.sft import SupervisedFineTuning
from drpt.tasks.assembly import Assembly, Parts


def assemble_supervised(parts: Parts) -> Assembly:
    """Put a supervised run together.

    Args:
        parts: Model, data and configuration.

    Returns:
        What the trainer is given.

    Raises:
        ValueError: The data go beyond the model's tokens or positions, or ``data.packing`` with a model that would mix
            examples.
    """
    spec, regularizer = parts.spec, parts.regularizer
    if spec.data.packing:
        check_packing(parts.model, label=spec.model.label)
    data = PostTrainingData(
        parts.pools,
        parts.loaded.tokenizer,
        spec.data,
        num_steps=spec.trainer.max_steps,
        seed=spec.seed,
        needs_general=regularizer.needs_general,
        needs_target=regularizer.needs_target,
        split=StepSplit(
            num_micro_batches=spec.trainer.micro_batches, is_mixed=regularizer.options.choice_scope is not ChoiceScope.STEP
        ),
        style=parts.style,
    )
    module = SupervisedFineTuning(parts.model, regularizer, parts.training_specs)
    config = parts.loaded.model.config
    check_token_ids([*data.general, *data.target, *data.stopping, *data.evaluation], num_tokens=num_tokens(config))
    asked = [len(row.prompt_ids) for row in data.evaluation[: spec.evaluation.num_generate]]
    if asked:
        check_positions(
            config,
            label=f"model={spec.model.label}",
            wanted=max(asked) + spec.evaluation.max_new_tokens,
            option=f"evaluation.max_new_tokens={spec.evaluation.max_new_tokens} after a prompt of {max(asked)} tokens",
        )
    evaluation = HeldOutEvaluation(data, parts.loaded.tokenizer, parts.source.is_correct, spec.evaluation, **parts.steps)
    return Assembly(module=module, data=data, evaluation=evaluation, counts=data.counts)
