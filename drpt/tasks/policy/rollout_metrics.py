"""Columns, quantities and reductions that tasks which draw responses share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from drpt.tasks.common_metrics import COSTS, DATA, PEAK
from drpt.tasks.task_metrics import Column, Quantity, Reduction

REWARD_COLUMN = Column(
    title="held-out reward",
    short="reward",
    key="reward",
    metric="target/reward/mean",
    section="final",
    digits=3,
    best="highest",
)
HIGHEST_REWARD_COLUMN = Column(
    title="highest reward",
    short="highest",
    key="highest_reward",
    metric="target/reward/mean",
    section="best",
    digits=3,
    spare=4,
)
HELD_OUT_REWARD = Quantity(
    metric="target/reward/mean", name="held-out reward", short="reward", axis="held-out target reward (mean of responses)"
)
TRAINING_REWARD = Quantity(
    metric="train/reward/mean", name="training reward", short="reward", axis="reward of general prompts (mean of responses)"
)
LATE = ("train/kl", "train/entropy", "train/clip_fraction")  # told of the last tenth of the steps
OF_ROLLOUTS = (
    Column(
        title="length",
        short="length",
        key="response_length",
        metric="target/response_length/mean",
        section="final",
        digits=1,
        has_error=False,
        spare=5,
    ),
    Column(title="KL", short="KL", key="kl", metric="train/kl/late", section="final", digits=3, has_error=False, spare=1),
    Column(
        title="s / step",
        short="s/step",
        key="all_step_seconds",
        metric="train/all_seconds/per_step",
        section="final",
        digits=2,
        has_error=False,
    ),
    Column(
        title="update s",
        short="update",
        key="step_seconds",
        metric="train/step_seconds/median",
        section="final",
        digits=2,
        has_error=False,
        spare=7,
    ),
    Column(
        title="rollouts %",
        short="roll%",
        key="rollout_share",
        metric="rollout/seconds/share",
        section="final",
        digits=0,
        scale=100,
        has_error=False,
    ),
    Column(
        title="sync %",
        short="sync%",
        key="sync_share",
        metric="rollout/sync_seconds/share",
        section="final",
        digits=1,
        scale=100,
        has_error=False,
        spare=3,
    ),
    Column(
        title="tokens / s",
        short="tok/s",
        key="tokens_per_second",
        metric="rollout/tokens_per_second/median",
        section="final",
        digits=0,
        has_error=False,
        spare=6,
    ),
    replace(PEAK, has_error=False, spare=2),
)
ROLLOUT_SETTINGS = (
    *DATA,
    "evaluation.pass_k",
    "evaluation.max_new_tokens",
    "reward.",
    "rollout.temperature",
    "rollout.top_",
    "rollout.engine",
    "rollout.dtype",
)
ROLLOUT_REDUCTIONS = (
    *COSTS,
    Reduction(metric="rollout/seconds", statistic="sum"),
    Reduction(metric="rollout/seconds", statistic="median"),
    Reduction(metric="rollout/sync_seconds", statistic="sum"),
    Reduction(metric="rollout/sync_seconds", statistic="median"),
    Reduction(metric="rollout/tokens_per_second", statistic="median"),
    Reduction(metric="rollout/mismatch", statistic="mean"),
)
ROLLOUT_NOTE = (
    "<b>length</b>: tokens of a response. <b>KL</b>: to the model before training, nats per token, over the last tenth of the "
    "steps. <b>s / step</b>: all seconds of training, rollouts included and evaluations not, for each optimizer step; "
    "<b>rollouts</b> and <b>sync</b> (handing the weights to the engine) are shares of it, and <b>update</b> is the median of "
    "optimizer steps alone."
)


def rollout_costs(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Seconds of training for each optimizer step, and the shares of rollout phases and of their weight synchronization."""
    # Step seconds are those of optimizer steps and of what was computed for them (v, a phase's choice); rollout seconds are
    # those of whole phases, synchronization included; evaluations are in neither.
    steps = values.get("train/step_seconds", ())
    phases = sum(values.get("rollout/seconds", ()))
    total = phases + sum(steps)
    if not steps or total == 0:
        return {}
    return {
        "train/all_seconds/per_step": total / len(steps),
        "rollout/seconds/share": phases / total,
        "rollout/sync_seconds/share": sum(values.get("rollout/sync_seconds", ())) / total,
    }
