"""The `task` config group: its keys, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from drpt.checks import check_choice

# Our tasks, by name: the dotted paths of their classes, which are imported when they are asked for.
TASKS: Mapping[str, str] = {
    "sft": "drpt.tasks.sft.task.SupervisedTask",
    "rlvr": "drpt.tasks.policy.task.VerifiableRewardsTask",
    "rlhf": "drpt.tasks.policy.task.HumanFeedbackTask",
    "reward": "drpt.tasks.reward.task.RewardTask",
}


@dataclass(kw_only=True)
class TaskSpec:
    """What is trained for."""

    name: str  # a key of TASKS, or the dotted path of a class like drpt.tasks.task.Task
    default_dropout: float  # what finetune.dropout of adapters refers to unless it is set

    def __post_init__(self) -> None:
        """Check the name; whether a dotted path leads to a task, `drpt.tasks.find` says.

        Raises:
            ValueError: The task does not exist.
        """
        if "." not in self.name:
            check_choice("task.name", self.name, TASKS, "; or the dotted path of a class of yours")
