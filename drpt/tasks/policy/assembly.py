"""Puts a run of reinforcement learning together; what differs between the algorithms, `drpt.rl.algorithm` says."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from drpt.capture.layers.outside import rules_with
from drpt.capture.regularizer import Regularizer
from drpt.data.prompts import PromptData
from drpt.data.vocabulary import check_token_ids
from drpt.evaluation.held_out import end_tokens
from drpt.geometry.mean import Mean
from drpt.models.limits import num_tokens
from drpt.models.merged import save_for_engine
from drpt.models.policy import without_dropout
from drpt.models.reference import ReferenceModel
from drpt.models.value_head import PolicyWithValues
from drpt.modules.policy_training import PolicyTraining, unregularized
from drpt.modules.rollout_evaluation import RolloutEvaluation
from drpt.modules.rollout_tables import ROLLOUTS_FILE, RolloutTables
from drpt.rewards.build import Rewards
from drpt.rl.algorithm import Algorithm
from drpt.rl.algorithm_spec import AlgorithmSpec
from drpt.rl.parity import ParityCheck
from drpt.rl.phase import RolloutPhases, prompt_kinds
from drpt.rl.phase_choice import PhaseChoice
from drpt.rl.sampler import Sampler
from drpt.rl.scoring import Scorer
from drpt.rollouts.build import build_rollout
from drpt.rollouts.spec import RolloutSpec
from drpt.tasks.assembly import Assembly, Parts
from drpt.tasks.run_spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class RolloutSections:
    """The sections of a configuration that only tasks which draw responses have."""

    algorithm: AlgorithmSpec
    rollout: RolloutSpec
    rewards: Rewards


def assemble_policy(parts: Parts, algorithm: Algorithm) -> Assembly:
    """Put a run of reinforcement learning together.

    Args:
        parts: Model, data and configuration.
        algorithm: Estimator of advantages and loss.

    Returns:
        What the trainer is given.

    Raises:
        ValueError: The data go beyond the model's tokens, or leave no room for responses.
    """
    spec = parts.spec
    assert spec.algorithm is not None
    assert spec.rollout is not None
    assert parts.rewards is not None
    sections = RolloutSections(algorithm=spec.algorithm, rollout=spec.rollout, rewards=parts.rewards)
    policy = without_dropout(parts.model)
    prompts = _prompts(parts, sections.rollout)
    # Before a checkpoint is loaded: the reference is the model that training began with.
    reference = ReferenceModel(policy) if spec.algorithm.needs_reference else None
    is_by_phase = spec.regularizer.chooses_by_phase
    regularizer = replace(parts.regularizer, feasible_set=Mean()) if is_by_phase else parts.regularizer
    with ExitStack() as stack:
        sampler = _sampler(parts, sections, policy, prompts, stack)
        phases = _phases(parts, sections, sampler, prompts, algorithm, reference, needs_general=regularizer.needs_general)
        model = PolicyWithValues(policy) if algorithm.has_value_function else policy
        free = unregularized(model)
        module = PolicyTraining(
            model,
            regularizer.with_options(unregularized=free),
            parts.training_specs,
            phases=phases,
            algorithm=algorithm,
            general_rows=spec.data.general_rows,
            phase_choice=_phase_choice(spec, model, parts.regularizer.with_options(unregularized=free))
            if is_by_phase
            else None,
        )
        tables = RolloutTables(parts.folder, resume_step=parts.resume.step, state=parts.resume.journals.get(ROLLOUTS_FILE))
        return Assembly(
            module=module,
            data=None,
            evaluation=RolloutEvaluation(sampler, prompts, spec.evaluation, **parts.steps),
            counts=prompts.counts,
            recorders=[tables],
            cleanup=stack.pop_all(),
        )


def _prompts(parts: Parts, rollout: RolloutSpec) -> PromptData:
    spec = parts.spec
    prompts = PromptData(
        parts.pools,
        parts.loaded.tokenizer,
        spec.data,
        max_new_tokens=max(rollout.max_tokens, spec.evaluation.max_new_tokens),
        num_prompts=rollout.num_prompts,
        seed=spec.seed,
        style=parts.style,
    )
    check_token_ids(prompts.all, num_tokens=num_tokens(parts.loaded.model.config))
    return prompts


def _sampler(parts: Parts, sections: RolloutSections, policy: nn.Module, prompts: PromptData, stack: ExitStack) -> Sampler:
    """A sampler whose engine has the policy's weights of now; the stack closes the engine."""
    spec, tokenizer, rollout = parts.spec, parts.loaded.tokenizer, sections.rollout
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drpt-engine-")))
    save_for_engine(policy, tokenizer, folder)
    engine = build_rollout(rollout, model_folder=folder, device=parts.device, max_model_len=spec.data.max_length)
    stack.callback(engine.close)
    stop_token_ids: Sequence[int] = end_tokens(parts.loaded.model, tokenizer, prompts.evaluation)
    return Sampler(engine, sections.rewards, tokenizer, rollout, stop_token_ids=stop_token_ids, seed=spec.seed)


def _phases(
    parts: Parts,
    sections: RolloutSections,
    sampler: Sampler,
    prompts: PromptData,
    algorithm: Algorithm,
    reference: ReferenceModel | None,
    *,
    needs_general: bool,
) -> RolloutPhases:
    spec = parts.spec
    scorer = Scorer(
        temperature=sections.rollout.temperature,
        pad_token_id=parts.loaded.tokenizer.pad_token_id,
        batch_rows=spec.evaluation.batch_rows,
        reference=reference,
        recomputes_logprobs=sections.algorithm.old_logprobs == "trainer",
    )
    # The coarser of the two dtypes says what rounding may do.
    dtype = sampler.engine.dtype if spec.trainer.precision == "32-true" else "bfloat16"
    kinds = prompt_kinds(
        needs_general=needs_general,
        needs_target=parts.regularizer.needs_target,
        target_source=sections.algorithm.target.source,
    )
    return RolloutPhases(sampler, prompts, scorer, ParityCheck(sampler, scorer, dtype=dtype), algorithm.estimator, kinds)


def _phase_choice(spec: RunSpec, model: nn.Module, regularizer: Regularizer) -> PhaseChoice:
    return PhaseChoice(
        model,
        regularizer,
        layer_rules=rules_with(spec.trainer.layer_rules),
        check=spec.trainer.check_capture,
    )
