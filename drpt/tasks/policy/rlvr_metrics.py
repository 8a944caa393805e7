"""What counts in runs of reinforcement learning with verifiable rewards."""

from drpt.tasks.policy.rollout_metrics import (
    HELD_OUT_REWARD,
    HIGHEST_REWARD_COLUMN,
    LATE,
    OF_ROLLOUTS,
    REWARD_COLUMN,
    ROLLOUT_NOTE,
    ROLLOUT_REDUCTIONS,
    ROLLOUT_SETTINGS,
    TRAINING_REWARD,
    rollout_costs,
)
from drpt.tasks.task_metrics import Column, Quantity, TaskMetrics

RLVR = TaskMetrics(
    task="rlvr",
    columns=(
        REWARD_COLUMN,
        Column(
            title="accuracy %",
            short="acc%",
            key="accuracy",
            metric="target/accuracy/mean",
            section="final",
            digits=1,
            scale=100,
            best="highest",
        ),
        Column(
            title="pass@{k} %",
            short="p@{k}%",
            key="pass_at_k",
            metric="target/pass_at_k/mean",
            section="final",
            digits=1,
            scale=100,
            best="highest",
        ),
        HIGHEST_REWARD_COLUMN,
        *OF_ROLLOUTS,
    ),
    primary=HELD_OUT_REWARD,
    is_lower_better=False,
    training=TRAINING_REWARD,
    second=Quantity(
        metric="target/accuracy/mean", name="held-out accuracy", short="accuracy", axis="held-out accuracy (share of prompts)"
    ),
    shows_start=True,
    untrained_settings=ROLLOUT_SETTINGS,
    is_drawn=True,
    reductions=ROLLOUT_REDUCTIONS,
    late=LATE,
    derive=rollout_costs,
    progress=(("reward", "target/reward/mean"), ("accuracy", "target/accuracy/mean")),
    wide=178,
    note=(
        "<b>held-out reward</b>: mean over held-out prompts of the responses drawn for each, of the last step's model (for "
        "<code>target_only_stopped</code>, of the step that its own held-out target prompts chose). <b>highest reward</b>: the "
        "highest of all evaluations, looked at afterwards. <b>accuracy</b>: correct greedy responses. <b>pass@k</b>: prompts "
        "with a correct one among k drawn responses. " + ROLLOUT_NOTE
    ),
)
