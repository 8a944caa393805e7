"""What counts in runs of reward modeling."""

from drpt.tasks.common_metrics import COSTS, DATA, PEAK
from drpt.tasks.task_metrics import Column, Quantity, TaskMetrics

REWARD = TaskMetrics(
    task="reward",
    columns=(
        Column(
            title="held-out accuracy %",
            short="acc%",
            key="accuracy",
            metric="target/accuracy/mean",
            section="final",
            digits=1,
            scale=100,
            best="highest",
        ),
        Column(
            title="held-out loss",
            short="loss",
            key="loss",
            metric="target/loss/mean",
            section="final",
            digits=4,
            best="lowest",
        ),
        Column(
            title="highest accuracy %",
            short="highest",
            key="highest_accuracy",
            metric="target/accuracy/mean",
            section="best",
            digits=1,
            scale=100,
        ),
        Column(
            title="ms / step",
            short="ms/step",
            key="step_seconds",
            metric="train/step_seconds/median",
            section="final",
            digits=1,
            scale=1000,
        ),
        PEAK,
    ),
    primary=Quantity(
        metric="target/accuracy/mean", name="held-out accuracy", short="accuracy", axis="held-out accuracy (share of pairs)"
    ),
    is_lower_better=False,
    second=Quantity(metric="target/loss/mean", name="held-out loss", short="loss", axis="held-out loss (nats per pair)"),
    shows_start=True,
    untrained_settings=DATA,
    is_drawn=False,
    reductions=COSTS,
    progress=(("loss", "target/loss/mean"), ("accuracy", "target/accuracy/mean")),
    wide=100,
    note=(
        "<b>held-out accuracy</b>: share of held-out pairs whose chosen response has the higher score (equal scores count "
        "half), of the last step's model (for <code>target_only_stopped</code>, of the step that its own held-out target pairs "
        "chose). <b>held-out loss</b>: Bradley–Terry, −log σ(r_chosen − r_rejected), nats per pair. <b>highest accuracy</b>: "
        "the highest of all evaluations, looked at afterwards."
    ),
)
