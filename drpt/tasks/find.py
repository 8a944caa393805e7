"""Finds a task by its name in a configuration, and what counts in its runs."""

from collections.abc import Iterable
from functools import cache

from drpt.plugins import import_named
from drpt.tasks.sft.metrics import SFT
from drpt.tasks.spec import TASKS
from drpt.tasks.task import Task
from drpt.tasks.task_metrics import TaskMetrics


@cache
def find_task(name: str) -> Task:
    """The task that a configuration names.

    Args:
        name: A key of `TASKS`, or the dotted path of a class of the user's.

    Returns:
        The task.

    Raises:
        ValueError: There is no such task, the path leads to no task, or the task declares no metrics.
    """
    if name not in TASKS and "." not in name:
        raise ValueError(
            f"task.name={name!r}: nothing is known of what counts in its runs; known are {', '.join(TASKS)}, or the dotted "
            "path of a class of yours."
        )
    cls = import_named("task.name", TASKS.get(name, name))
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise ValueError(f"task.name={name!r} is no task: derive the class from drpt.tasks.task.Task.")
    if not isinstance(getattr(cls, "metrics", None), TaskMetrics):
        raise ValueError(f"task.name={name!r} has no metrics: give the class an attribute metrics, a TaskMetrics.")
    missing = ", ".join(sorted(cls.__abstractmethods__))
    if missing:
        raise ValueError(f"task.name={name!r} lacks {missing} of drpt.tasks.task.Task.")
    return cls()


def task_metrics_of(name: str) -> TaskMetrics:
    """What counts in the runs of a task.

    Args:
        name: Name of the task; see `find_task`.

    Returns:
        Its metrics.

    Raises:
        ValueError: There is no such task.
    """
    return find_task(name).metrics


def common_task_metrics(names: Iterable[str]) -> TaskMetrics:
    """What counts in runs that must all be of one task.

    Args:
        names: Names of the runs' tasks; for none at all the metrics are those of supervised runs, whose titles stay empty.

    Returns:
        The task's metrics.

    Raises:
        ValueError: The runs are of several tasks, or of an unknown one.
    """
    different = list(dict.fromkeys(names))
    if len(different) > 1:
        raise ValueError(f"runs of the tasks {', '.join(different)} have no figures in common; show those of each task apart.")
    return task_metrics_of(different[0]) if different else SFT
