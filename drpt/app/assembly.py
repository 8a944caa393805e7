"""The parts of a run, by task: what trains, on what, and what measures it."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import nn

from drpt.analysis.run import CHECKPOINTS
from drpt.app.schema import RunSpec
from drpt.capture.options import Pool
from drpt.capture.regularizer import Regularizer
from drpt.data.encoded_pairs import EncodedPairs
from drpt.data.module import PostTrainingData
from drpt.data.pools import Pools
from drpt.data.prompts import PromptData
from drpt.data.source import Source
from drpt.data.split import StepSplit
from drpt.data.vocabulary import check_token_ids
from drpt.evaluation.held_out import end_tokens
from drpt.geometry.mean import Mean
from drpt.journal import Journal
from drpt.models.chat_renderer import ChatStyle
from drpt.models.limits import check_positions, num_tokens
from drpt.models.load import LoadedModel
from drpt.models.merged import save_for_engine
from drpt.models.packing import check_packing
from drpt.models.policy import without_dropout
from drpt.models.reference import ReferenceModel
from drpt.models.reward_model import RewardModel
from drpt.models.value_head import PolicyWithValues
from drpt.modules.algorithm_spec import AlgorithmSpec, GroupAlgorithmSpec
from drpt.modules.appraisal import Appraisal, GroupAppraisal, ValueAppraisal
from drpt.modules.checkpoint_files import ResumePoint
from drpt.modules.evaluation import Evaluation, HeldOutEvaluation
from drpt.modules.pair_evaluation import PairEvaluation
from drpt.modules.phase_choice import PhaseChoice
from drpt.modules.policy_loss import PolicyLoss, group_terms
from drpt.modules.policy_training import PolicyTraining, unregularized
from drpt.modules.ppo_loss import PpoLoss
from drpt.modules.ppo_spec import PpoSpec
from drpt.modules.regularized import RegularizedTraining
from drpt.modules.reward_modeling import RewardModeling, RewardModelWriter
from drpt.modules.rlhf import HumanFeedback
from drpt.modules.rlvr import VerifiableRewards
from drpt.modules.rollout_evaluation import RolloutEvaluation
from drpt.modules.rollout_phase import RolloutWorker
from drpt.modules.rollout_tables import ROLLOUTS_FILE, RolloutTables
from drpt.modules.sft import SupervisedFineTuning
from drpt.rewards.build import Rewards
from drpt.rollouts.build import build_rollout


@dataclass(kw_only=True)
class Assembly:
    """What a trainer is given."""

    module: RegularizedTraining
    data: LightningDataModule | None  # None: the module makes its own batches
    evaluation: Evaluation
    counts: dict[str, int]  # examples cut or left out, by reason
    recorders: Sequence[RolloutTables] = ()  # callbacks that write a part of each step
    callbacks: Sequence[Callback] = ()
    cleanup: ExitStack = field(default_factory=ExitStack)  # what must be closed in the end

    @property
    def journals(self) -> list[Journal]:
        """Files of the run's folder that the recorders write."""
        return [recorder.journal for recorder in self.recorders]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every task is made of."""

    spec: RunSpec
    source: Source
    pools: Pools
    style: ChatStyle  # the date and options that the chat template is told
    rewards: Rewards | None  # of tasks that draw responses
    loaded: LoadedModel
    model: nn.Module  # under its fine-tuning method
    regularizer: Regularizer
    folder: Path
    resume: ResumePoint

    @property
    def steps(self) -> dict[str, int]:
        """Of the whole run, and those taken before."""
        return {"num_steps": self.spec.trainer.max_steps, "resume_step": self.resume.step}


def assemble(parts: Parts) -> Assembly:
    """Put a run together.

    Args:
        parts: Model, data and configuration.

    Returns:
        For the trainer; whoever asked closes ``cleanup``.

    Raises:
        ValueError: The data do not fit, or ``data.packing`` with a model that would mix examples.
    """
    return _ASSEMBLE[parts.spec.task.name](parts)


def _assemble_sft(parts: Parts) -> Assembly:
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
        split=StepSplit(micro_batches=spec.trainer.micro_batches, is_mixed=regularizer.options.pool is not Pool.STEP),
        style=parts.style,
    )
    module = SupervisedFineTuning(parts.model, regularizer, spec.optimizer, spec.trainer, seed=spec.seed)
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


def _assemble_policy(parts: Parts) -> Assembly:
    """A policy trained on its own responses; which module trains it, the algorithm says."""
    spec, tokenizer = parts.spec, parts.loaded.tokenizer
    algorithm, rollout, rewards = spec.algorithm, spec.rollout, parts.rewards
    assert algorithm is not None
    assert rollout is not None
    assert rewards is not None
    policy = without_dropout(parts.model)
    longest = max(rollout.max_tokens, spec.evaluation.max_new_tokens)
    prompts = PromptData(
        parts.pools,
        tokenizer,
        spec.data,
        max_new_tokens=longest,
        num_prompts=rollout.num_prompts,
        seed=spec.seed,
        style=parts.style,
    )
    check_token_ids(prompts.all, num_tokens=num_tokens(parts.loaded.model.config))
    # Before a checkpoint is loaded: the reference is the model that training began with.
    reference = ReferenceModel(policy) if algorithm.needs_reference else None
    is_by_phase = spec.regularizer.chooses_by_phase
    regularizer = replace(parts.regularizer, feasible_set=Mean()) if is_by_phase else parts.regularizer
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drpt-engine-")))
        save_for_engine(policy, tokenizer, place)
        engine = build_rollout(rollout, model_folder=place, device=_device(spec), max_model_len=spec.data.max_length)
        stack.callback(engine.close)
        worker = RolloutWorker(
            engine,
            rewards.terms,
            rewards.judges,
            prompts,
            tokenizer,
            rollout,
            algorithm,
            _appraisal(algorithm),
            reference=reference,
            needs_general=regularizer.needs_general,
            needs_target=parts.regularizer.needs_target,
            stop_token_ids=end_tokens(parts.loaded.model, tokenizer, prompts.evaluation),
            batch_rows=spec.evaluation.batch_rows,
            precision=spec.trainer.precision,
            seed=spec.seed,
        )
        limits = {
            "temperature": rollout.temperature,
            "max_tokens": rollout.max_tokens,
            "pad_token_id": tokenizer.pad_token_id,
        }
        model = PolicyWithValues(policy) if isinstance(algorithm, PpoSpec) else policy
        free = unregularized(model)
        common: dict[str, Any] = {  # Any: arguments of several kinds
            "worker": worker,
            "general_rows": spec.data.general_rows,
            "phase_choice": _phase_choice(spec, model, parts.regularizer.with_options(unregularized=free))
            if is_by_phase
            else None,
            "seed": spec.seed,
        }
        specs = (regularizer.with_options(unregularized=free), spec.optimizer, spec.trainer)
        module: PolicyTraining
        if isinstance(algorithm, PpoSpec):
            assert isinstance(model, PolicyWithValues)
            module = HumanFeedback(model, *specs, loss=PpoLoss(algorithm, **limits), spec=algorithm, **common)
        else:
            assert isinstance(algorithm, GroupAlgorithmSpec)
            loss = PolicyLoss(algorithm, group_terms(algorithm), **limits)
            module = VerifiableRewards(model, *specs, loss=loss, **common)
        return Assembly(
            module=module,
            data=None,
            evaluation=RolloutEvaluation(worker, spec.evaluation, **parts.steps),
            counts=prompts.counts,
            recorders=[
                RolloutTables(parts.folder, resume_step=parts.resume.step, state=parts.resume.journals.get(ROLLOUTS_FILE))
            ],
            cleanup=stack.pop_all(),
        )


def _appraisal(spec: AlgorithmSpec) -> Appraisal:
    if isinstance(spec, PpoSpec):
        return ValueAppraisal(spec)
    assert isinstance(spec, GroupAlgorithmSpec)
    return GroupAppraisal(spec)


def _phase_choice(spec: RunSpec, model: nn.Module, regularizer: Regularizer) -> PhaseChoice:
    return PhaseChoice(
        model,
        regularizer,
        check=spec.trainer.check_capture,
    )


def _device(spec: RunSpec) -> torch.device:
    wants_gpu = spec.trainer.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if wants_gpu else "cpu")


def _assemble_reward(parts: Parts) -> Assembly:
    spec, regularizer, model = parts.spec, parts.regularizer, parts.model
    assert isinstance(model, RewardModel)
    pairs = EncodedPairs(
        parts.pools,
        model.to(_device(spec)),
        spec.data,
        seed=spec.seed,
        needs_general=regularizer.needs_general,
        needs_target=regularizer.needs_target,
    )
    return Assembly(
        module=RewardModeling(model, regularizer, spec.optimizer, spec.trainer, pairs=pairs, seed=spec.seed),
        data=None,
        evaluation=PairEvaluation(pairs, spec.evaluation, **parts.steps),
        counts=pairs.counts,
        callbacks=[RewardModelWriter(parts.folder, parts.folder / CHECKPOINTS, max_length=spec.data.max_length)],
    )


_ASSEMBLE: dict[str, Callable[[Parts], Assembly]] = {
    "sft": _assemble_sft,
    "rlvr": _assemble_policy,
    "rlhf": _assemble_policy,
    "reward": _assemble_reward,
}
