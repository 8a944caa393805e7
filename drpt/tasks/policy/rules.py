"""Rules of reinforcement learning that bind several sections of a configuration together; no torch."""

from drpt.geometry.catalogue import SETS
from drpt.modules.regularizer_spec import RegularizerSpec
from drpt.optim.spec import check_decay
from drpt.rl.algorithm_spec import GroupAlgorithmSpec
from drpt.rl.choices import MAX_KL_ERROR, KlControl
from drpt.rl.kl_control import horizon_that_doubles, largest_change
from drpt.rl.ppo_spec import PpoSpec
from drpt.tasks.run_spec import RunSpec


def check_rollouts(spec: RunSpec) -> None:
    """Check what the phases of reinforcement learning need.

    Args:
        spec: Configuration with the sections algorithm, rollout and reward.

    Raises:
        ValueError: Two values do not go together.
    """
    assert spec.algorithm is not None
    assert spec.rollout is not None
    if spec.rollout.num_responses < 2 and isinstance(spec.algorithm, GroupAlgorithmSpec):
        raise ValueError("rollout.num_responses=1: a prompt's responses are compared with each other; give at least 2.")
    _check_rows(spec)
    _check_logprobs(spec)
    _check_target(spec)
    if isinstance(spec.algorithm, PpoSpec):
        _check_ppo(spec, spec.algorithm)
    if spec.finetune.dropout:
        raise ValueError(
            f"finetune.dropout={spec.finetune.dropout}: with dropout the policy that is trained is not the one that answers. "
            "Set it to 0."
        )
    if spec.evaluation.pass_k is None:
        raise ValueError("evaluation.pass_k=null: give the number of responses drawn for each held-out prompt, such as 4.")
    if spec.evaluation.num_generate < 1:
        raise ValueError("evaluation.num_generate=0: rewards are measured on held-out prompts; give at least 1.")
    if spec.regularizer.is_auto:
        raise ValueError(
            "regularizer.strength=auto and relaxation=auto look at the spread among a step's target examples, and the target "
            "gradient of reinforcement learning comes as one. Give numbers."
        )
    if spec.regularizer.chooses_by_phase:
        _check_phase_choice(spec.regularizer)
    if spec.data.packing:
        raise ValueError("data.packing=true goes with task=sft alone.")


_LEAST_CHANGE = 1.5  # an adaptive coefficient that cannot change by half within a run is as good as fixed


def rollout_warnings(spec: RunSpec) -> list[str]:
    """Warnings about values that are allowed in reinforcement learning and hardly meant.

    Args:
        spec: Configuration that has been checked.

    Returns:
        One line for each warning.
    """
    if not isinstance(spec.algorithm, PpoSpec):
        return []
    kl, responses = spec.algorithm.kl, _num_responses(spec)
    if kl.control != KlControl.ADAPTIVE or kl.horizon is None or spec.rollout is None:
        return []
    steps = spec.algorithm.epochs * (spec.rollout.num_prompts * spec.rollout.num_responses // spec.data.general_rows)
    phases = -(-spec.trainer.max_steps // steps)
    most = largest_change(num_responses=responses, num_phases=phases, horizon=kl.horizon)
    if most >= _LEAST_CHANGE:
        return []
    what = (
        f"algorithm.kl.horizon={kl.horizon:g}: with {responses} responses a phase the adaptive coefficient moves by "
        f"{MAX_KL_ERROR * responses / kl.horizon:.2%} a phase at most, in the {phases} phase{'s'[: phases != 1]} of this run "
        f"(trainer.max_steps={spec.trainer.max_steps}, {steps} steps a phase) by {most - 1:.1%}"
    )
    if phases < 2:
        return [f"{what}. Train for more steps, or say what it is: algorithm.kl.control=fixed."]
    horizon = max(horizon_that_doubles(num_responses=responses, num_phases=phases), 1.01 * MAX_KL_ERROR * responses)
    return [
        f"{what}. With algorithm.kl.horizon={_rounded(horizon)} it could double; algorithm.kl.control=fixed says that it is to "
        "stay."
    ]


def _rounded(value: float) -> str:
    """Two digits that are sure to reach what the whole number reaches."""
    return f"{float(f'{value:.2g}'):g}" if float(f"{value:.2g}") <= value else f"{value:.4g}"


def _num_responses(spec: RunSpec) -> int:
    """Number of responses of a phase from which its advantages are estimated: see `drpt.rl.phase.prompt_kinds`."""
    assert spec.rollout is not None
    assert spec.algorithm is not None
    asks_general = _needs_general(spec) or spec.algorithm.target.source == "self"
    prompts = spec.rollout.num_prompts if asks_general else spec.data.target_rows
    return prompts * spec.rollout.num_responses


def _needs_general(spec: RunSpec) -> bool:
    entry = spec.regularizer.entry
    return (entry is None or entry.uses_general) and spec.regularizer.relaxation != 1.0


def _check_target(spec: RunSpec) -> None:
    assert spec.algorithm is not None
    assert spec.rollout is not None
    target = spec.algorithm.target
    prompts, option = (
        (spec.data.target_rows, "data.target_rows")
        if target.source == "prompts"
        else (spec.rollout.num_prompts, "rollout.num_prompts")
    )
    if target.objective == "reward" and prompts * spec.rollout.num_responses < 2:
        raise ValueError(
            f"{option}={prompts}, rollout.num_responses={spec.rollout.num_responses}: algorithm.target.objective=reward "
            "compares the rewards of a phase's target responses with each other; it needs at least 2 of them."
        )


def _check_ppo(spec: RunSpec, algorithm: PpoSpec) -> None:
    kl, responses = algorithm.kl, _num_responses(spec)
    check_decay("algorithm.value.lr", algorithm.value.lr, spec.optimizer.weight_decay or 0.0)
    if kl.control == KlControl.ADAPTIVE and kl.horizon is not None and kl.horizon <= MAX_KL_ERROR * responses:
        raise ValueError(
            f"algorithm.kl.horizon={kl.horizon:g}: with {responses} responses a phase it must be above "
            f"{MAX_KL_ERROR * responses:g}, or one phase could turn the penalty's sign."
        )
    if not _needs_general(spec) and algorithm.target.objective == "token_pg":
        raise ValueError(
            "algorithm.target.objective=token_pg: its advantages come from the value function, which a regularizer without "
            "general responses never trains. Take train_loss, or reward."
        )


def _check_phase_choice(regularizer: RegularizerSpec) -> None:
    """One choice a phase means: which responses are trained on at all."""
    entry = regularizer.entry
    if entry is None or not entry.chooses:
        able = ", ".join(name for name, other in SETS.items() if other.chooses)
        raise ValueError(
            "regularizer.choice_scope=phase says which responses of a phase are trained on, which the set "
            f"{regularizer.set!r} does not say of so many: it weights them, or enumerates their subsets. Take one of {able}, "
            "or choice_scope=step."
        )
    if regularizer.partition != "global":
        raise ValueError(
            f"regularizer.partition={regularizer.partition}: with regularizer.choice_scope=phase all layers train on a "
            "response, or none. Take partition=global."
        )
    if regularizer.relaxation != 0.0:
        raise ValueError(
            f"regularizer.relaxation={regularizer.relaxation}: with regularizer.choice_scope=phase the target gradient "
            "chooses, and is no part of the update. Set it to 0."
        )


def _check_rows(spec: RunSpec) -> None:
    assert spec.rollout is not None
    n, responses = spec.data.general_rows, spec.rollout.num_prompts * spec.rollout.num_responses
    if responses % n:
        raise ValueError(
            f"data.general_rows={n} must divide the phase's {responses} responses (rollout.num_prompts="
            f"{spec.rollout.num_prompts} × rollout.num_responses={spec.rollout.num_responses}): a step takes so many of them."
        )
    if spec.data.num_general is not None and spec.rollout.num_prompts > spec.data.num_general:
        raise ValueError(
            f"rollout.num_prompts={spec.rollout.num_prompts} must be at most data.num_general={spec.data.num_general}: a phase "
            "takes each prompt once."
        )
    if spec.data.max_length < spec.rollout.max_tokens + 8:
        raise ValueError(
            f"data.max_length={spec.data.max_length} holds prompt and response: with rollout.max_tokens="
            f"{spec.rollout.max_tokens} it leaves too little for a prompt."
        )


def _check_logprobs(spec: RunSpec) -> None:
    algorithm, rollout = spec.algorithm, spec.rollout
    assert algorithm is not None
    assert rollout is not None
    if algorithm.old_logprobs == "trainer":
        return
    remedy = "Set algorithm.old_logprobs=trainer, which computes them again (algorithm.importance_cap=2 weights the difference)"
    if rollout.truncates:
        raise ValueError(
            f"rollout.top_p={rollout.top_p:g}, rollout.top_k={rollout.top_k}: the engine's log-probs would be those of a "
            f"truncated distribution, not the policy's. {remedy}, or leave top_p=1 and top_k=0."
        )
    if rollout.dtype != "float32" or spec.trainer.precision != "32-true":
        raise ValueError(
            f"rollout.dtype={rollout.dtype}, trainer.precision={spec.trainer.precision}: the engine's log-probs are the "
            f"trainer's in float32 alone. {remedy}."
        )
