"""What counts in each task. A new task is declared in a file here, and listed below."""

from collections.abc import Iterable, Mapping

from drpt.analysis.yardstick import Yardstick
from drpt.analysis.yardsticks.reward import REWARD
from drpt.analysis.yardsticks.rlhf import RLHF
from drpt.analysis.yardsticks.rlvr import RLVR
from drpt.analysis.yardsticks.sft import SFT

__all__ = ["REWARD", "RLHF", "RLVR", "SFT", "YARDSTICKS", "common_task", "yardstick_of"]

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
            "charts of a new task need a declaration in drpt/analysis/yardsticks/."
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
