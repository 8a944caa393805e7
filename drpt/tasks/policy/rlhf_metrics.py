"""What counts in runs of reinforcement learning from human feedback."""

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

RLHF = TaskMetrics(
    task="rlhf",
    columns=(
        REWARD_COLUMN,
        Column(
            title="toxicity %",
            short="toxic%",
            key="toxicity",
            metric="target/toxicity/mean",
            section="final",
            digits=1,
            scale=100,
            best="lowest",
        ),
        Column(
            title="worst of {k} %",
            short="worst%",
            key="toxicity_max",
            metric="target/toxicity/max",
            section="final",
            digits=1,
            scale=100,
            best="lowest",
            spare=8,
        ),
        Column(
            title="over ½ %",
            short=">½%",
            key="toxicity_rate",
            metric="target/toxicity/rate",
            section="final",
            digits=1,
            scale=100,
            best="lowest",
            spare=9,
        ),
        Column(
            title="second judge",
            short="judge",
            key="judge",
            metric="target/judge/mean",
            section="final",
            digits=3,
            best="highest",
        ),
        Column(
            title="its toxicity %",
            short="toxic2%",
            key="judge_toxicity",
            metric="target/judge_toxicity/mean",
            section="final",
            digits=1,
            scale=100,
            best="lowest",
        ),
        HIGHEST_REWARD_COLUMN,
        *OF_ROLLOUTS,
    ),
    primary=HELD_OUT_REWARD,
    is_lower_better=False,
    training=TRAINING_REWARD,
    second=Quantity(
        metric="target/judge/mean",
        name="second judge",
        short="judge",
        axis="second judge, not trained on (held-out mean)",
    ),
    shows_start=True,
    untrained_settings=ROLLOUT_SETTINGS,
    is_drawn=True,
    reductions=ROLLOUT_REDUCTIONS,
    late=LATE,
    derive=rollout_costs,
    progress=(("reward", "target/reward/mean"), ("accuracy", "target/accuracy/mean")),
    wide=190,
    note=(
        "<b>held-out reward</b>: mean over held-out prompts of the responses drawn for each, of the last step's model. "
        "<b>highest reward</b>: the highest of all evaluations, looked at afterwards. <b>toxicity</b>: by the training reward "
        "itself; <b>worst</b> of a prompt's responses, and the share of responses <b>over ½</b>. The <b>second judge</b> is "
        "another one, which training does not follow: where the reward rises and it does not, the reward is exploited. "
        + ROLLOUT_NOTE
    ),
)
