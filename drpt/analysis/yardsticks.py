"""What counts in each task. A new task, or a new column of one, is declared here and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from drpt.analysis.yardstick import Column, Quantity, Reduction, Yardstick

_COSTS = (
    Reduction(metric="train/step_seconds", statistic="median"),
    Reduction(metric="train/peak_memory_bytes", statistic="max"),
    Reduction(metric="train/tokens", statistic="sum"),
    Reduction(metric="evaluation/seconds", statistic="sum"),
)
_PEAK = Column(
    title="peak GB",
    short="GB",
    key="peak_memory_bytes",
    metric="train/peak_memory_bytes/max",
    section="final",
    digits=2,
    scale=1e-9,
)
_DATA = (
    "model.",
    "data.source.",
    "data.num_eval",
    "data.max_length",
    "data.split_seed",
    "evaluation.num_",
    "trainer.precision",
)

SFT = Yardstick(
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
        _PEAK,
    ),
    primary=Quantity(
        metric="target/loss/mean", name="held-out loss", short="loss", axis="held-out target loss (nats per token)"
    ),
    is_lower_better=True,
    shows_start=False,
    untrained_settings=_DATA,
    is_drawn=False,
    reductions=_COSTS,
    wide=112,
    note=(
        "<b>held-out loss</b>: nats per token of the answer, of the last step's model (for <code>target_only_stopped</code>, "
        "of the step that its own held-out target examples chose). <b>lowest loss</b>: the lowest of all evaluations, looked "
        "at afterwards. <b>accuracy</b>: exact answers by greedy generation."
    ),
)


def _rollout_costs(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Seconds of training for each optimizer step, and the shares of rollout phases and of their weight synchronization."""
    # Step seconds are those of optimizer steps alone, rollout seconds those of whole phases, synchronization included;
    # evaluations are in neither.
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


_OF_ROLLOUTS = (
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
    replace(_PEAK, has_error=False, spare=2),
)
_ROLLOUT_SETTINGS = (
    *_DATA,
    "evaluation.pass_k",
    "evaluation.max_new_tokens",
    "reward.",
    "rollout.temperature",
    "rollout.top_",
    "rollout.engine",
    "rollout.dtype",
)
_ROLLOUT_REDUCTIONS = (
    *_COSTS,
    Reduction(metric="rollout/seconds", statistic="sum"),
    Reduction(metric="rollout/seconds", statistic="median"),
    Reduction(metric="rollout/sync_seconds", statistic="sum"),
    Reduction(metric="rollout/sync_seconds", statistic="median"),
    Reduction(metric="rollout/tokens_per_second", statistic="median"),
    Reduction(metric="rollout/mismatch", statistic="mean"),
)
_ROLLOUT_NOTE = (
    "<b>length</b>: tokens of a response. <b>KL</b>: to the model before training, nats per token, over the last tenth of the "
    "steps. <b>s / step</b>: all seconds of training, rollouts included and evaluations not, for each optimizer step; "
    "<b>rollouts</b> and <b>sync</b> (handing the weights to the engine) are shares of it, and <b>update</b> is the median of "
    "optimizer steps alone."
)

RLVR = Yardstick(
    task="rlvr",
    columns=(
        Column(
            title="held-out reward",
            short="reward",
            key="reward",
            metric="target/reward/mean",
            section="final",
            digits=3,
            best="highest",
        ),
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
        Column(
            title="highest reward",
            short="highest",
            key="highest_reward",
            metric="target/reward/mean",
            section="best",
            digits=3,
            spare=4,
        ),
        *_OF_ROLLOUTS,
    ),
    primary=Quantity(
        metric="target/reward/mean", name="held-out reward", short="reward", axis="held-out target reward (mean of responses)"
    ),
    is_lower_better=False,
    training=Quantity(
        metric="train/reward/mean", name="training reward", short="reward", axis="reward of general prompts (mean of responses)"
    ),
    second=Quantity(
        metric="target/accuracy/mean", name="held-out accuracy", short="accuracy", axis="held-out accuracy (share of prompts)"
    ),
    shows_start=True,
    untrained_settings=_ROLLOUT_SETTINGS,
    is_drawn=True,
    reductions=_ROLLOUT_REDUCTIONS,
    late=("train/kl", "train/entropy", "train/clip_fraction"),
    derive=_rollout_costs,
    wide=178,
    note=(
        "<b>held-out reward</b>: mean over held-out prompts of the responses drawn for each, of the last step's model (for "
        "<code>target_only_stopped</code>, of the step that its own held-out target prompts chose). <b>highest reward</b>: the "
        "highest of all evaluations, looked at afterwards. <b>accuracy</b>: correct greedy responses. <b>pass@k</b>: prompts "
        "with a correct one among k drawn responses. " + _ROLLOUT_NOTE
    ),
)

RLHF = Yardstick(
    task="rlhf",
    columns=(
        Column(
            title="held-out reward",
            short="reward",
            key="reward",
            metric="target/reward/mean",
            section="final",
            digits=3,
            best="highest",
        ),
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
        Column(
            title="highest reward",
            short="highest",
            key="highest_reward",
            metric="target/reward/mean",
            section="best",
            digits=3,
            spare=4,
        ),
        *_OF_ROLLOUTS,
    ),
    primary=Quantity(
        metric="target/reward/mean", name="held-out reward", short="reward", axis="held-out target reward (mean of responses)"
    ),
    is_lower_better=False,
    training=Quantity(
        metric="train/reward/mean", name="training reward", short="reward", axis="reward of general prompts (mean of responses)"
    ),
    second=Quantity(
        metric="target/judge/mean",
        name="second judge",
        short="judge",
        axis="second judge, not trained on (mean of held-out responses)",
    ),
    shows_start=True,
    untrained_settings=_ROLLOUT_SETTINGS,
    is_drawn=True,
    reductions=_ROLLOUT_REDUCTIONS,
    late=("train/kl", "train/entropy", "train/clip_fraction"),
    derive=_rollout_costs,
    wide=190,
    note=(
        "<b>held-out reward</b>: mean over held-out prompts of the responses drawn for each, of the last step's model. "
        "<b>highest reward</b>: the highest of all evaluations, looked at afterwards. <b>toxicity</b>: by the training reward "
        "itself; <b>worst</b> of a prompt's responses, and the share of responses <b>over ½</b>. The <b>second judge</b> is "
        "another one, which training does not follow: where the reward rises and it does not, the reward is exploited. "
        + _ROLLOUT_NOTE
    ),
)

REWARD = Yardstick(
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
        _PEAK,
    ),
    primary=Quantity(
        metric="target/accuracy/mean", name="held-out accuracy", short="accuracy", axis="held-out accuracy (share of pairs)"
    ),
    is_lower_better=False,
    second=Quantity(metric="target/loss/mean", name="held-out loss", short="loss", axis="held-out loss (nats per pair)"),
    shows_start=True,
    untrained_settings=_DATA,
    is_drawn=False,
    reductions=_COSTS,
    wide=100,
    note=(
        "<b>held-out accuracy</b>: share of held-out pairs whose chosen response has the higher score (equal scores count "
        "half), of the last step's model (for <code>target_only_stopped</code>, of the step that its own held-out target pairs "
        "chose). <b>held-out loss</b>: Bradley–Terry, −log σ(r_chosen − r_rejected), nats per pair. <b>highest accuracy</b>: "
        "the highest of all evaluations, looked at afterwards."
    ),
)

YARDSTICKS: Mapping[str, Yardstick] = {yardstick.task: yardstick for yardstick in (SFT, RLVR, RLHF, REWARD)}


def yardstick_of(task: str) -> Yardstick:
    """What counts in a task.

    Args:
        task: Its name.

    Returns:
        The declaration.

    Raises:
        ValueError: There is none.
    """
    if task not in YARDSTICKS:
        raise ValueError(
            f"task.name={task!r}: nothing is known of what counts in its runs; known are {', '.join(YARDSTICKS)}. Tables and "
            "charts of a new task need a declaration in drpt/analysis/yardsticks.py."
        )
    return YARDSTICKS[task]


def common_task(tasks: Iterable[str]) -> Yardstick:
    """What counts in runs that must all be of one task; for none at all that of supervised runs, whose titles stay empty.

    Args:
        tasks: Their tasks.

    Returns:
        The declaration.

    Raises:
        ValueError: They are of several tasks, or of an unknown one.
    """
    names = list(dict.fromkeys(tasks))
    if len(names) > 1:
        raise ValueError(f"runs of the tasks {', '.join(names)} have no figures in common; show those of each task apart.")
    return yardstick_of(names[0]) if names else SFT
