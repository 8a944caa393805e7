"""Columns, reductions and settings that the metrics of all tasks share."""

from drpt.tasks.task_metrics import Column, Reduction

COSTS = (
    Reduction(metric="train/step_seconds", statistic="median"),
    Reduction(metric="train/peak_memory_bytes", statistic="max"),
    Reduction(metric="train/tokens", statistic="sum"),
    Reduction(metric="evaluation/seconds", statistic="sum"),
)
PEAK = Column(
    title="peak GB",
    short="GB",
    key="peak_memory_bytes",
    metric="train/peak_memory_bytes/max",
    section="final",
    digits=2,
    scale=1e-9,
)
DATA = (
    "model.",
    "data.source.",
    "data.num_eval",
    "data.max_length",
    "data.split_seed",
    "evaluation.num_",
    "trainer.precision",
)
