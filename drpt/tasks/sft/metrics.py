"""What counts in runs of supervised fine-tuning."""

from drpt.tasks.common_metrics import COSTS, DATA, PEAK
from drpt.tasks.task_metrics import Column, Quantity, TaskMetrics

SFT = TaskMetrics(
    task="sft",
    columns=(
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
            title="perplexity",
            short="ppl",
            key="perplexity",
            metric="target/perplexity/mean",
            section="final",
            digits=2,
            best="lowest",
        ),
        Column(
            title="accuracy %",
            short="acc %",
            key="accuracy",
            metric="target/accuracy/mean",
            section="final",
            digits=1,
            scale=100,
            best="highest",
        ),
        Column(title="lowest loss", short="lowest", key="lowest_loss", metric="target/loss/mean", section="best", digits=4),
        Column(
            title="s / step", short="s/step", key="step_seconds", metric="train/step_seconds/median", section="final", digits=2
        ),
        PEAK,
    ),
    primary=Quantity(
        metric="target/loss/mean", name="held-out loss", short="loss", axis="held-out target loss (nats per token)"
    ),
    is_lower_better=True,
    shows_start=False,
    untrained_settings=DATA,
    is_drawn=False,
    reductions=COSTS,
    progress=(("loss", "target/loss/mean"), ("accuracy", "target/accuracy/mean")),
    wide=112,
    note=(
        "<b>held-out loss</b>: nats per token of the answer, of the last step's model (for <code>target_only_stopped</code>, "
        "of the step that its own held-out target examples chose). <b>lowest loss</b>: the lowest of all evaluations, looked "
        "at afterwards. <b>accuracy</b>: exact answers by greedy generation."
    ),
)
