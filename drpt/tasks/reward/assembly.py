"""Puts a run of reward modeling together."""

from drpt.data.encoded_pairs import EncodedPairs
from drpt.models.reward_model import RewardModel
from drpt.modules.pair_evaluation import PairEvaluation
from drpt.modules.reward_modeling import RewardModeling, RewardModelWriter
from drpt.tasks.assembly import Assembly, Parts


def assemble_reward(parts: Parts) -> Assembly:
    """Put a run of reward modeling together.

    Args:
        parts: Model, data and configuration.

    Returns:
        What the trainer is given.
    """
    spec, regularizer, model = parts.spec, parts.regularizer, parts.model
    assert isinstance(model, RewardModel)
    pairs = EncodedPairs(
        parts.pools,
        model.to(parts.device),
        spec.data,
        seed=spec.seed,
        needs_general=regularizer.needs_general,
        needs_target=regularizer.needs_target,
    )
    return Assembly(
        module=RewardModeling(model, regularizer, parts.training_specs, pairs=pairs),
        data=None,
        evaluation=PairEvaluation(pairs, spec.evaluation, **parts.steps),
        counts=pairs.counts,
        callbacks=[RewardModelWriter(parts.folder, parts.checkpoints, max_length=spec.data.max_length)],
    )
