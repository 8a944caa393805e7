"""What a task must say of itself. A task from outside the package is a class like this one, named by ``task.name``."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from drpt.data.source import Source
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.task_metrics import TaskMetrics

if TYPE_CHECKING:
    from drpt.tasks.assembly import Assembly, Parts  # which load torch


class Task(ABC):
    """What a run trains for: rules of configuration, assembly, and metrics.

    Instances have no state; they are built without arguments. A module that defines one should not import torch at its top:
    configurations are checked, and tables made, without it. Import what `assemble` needs within `assemble`.
    """

    metrics: ClassVar[TaskMetrics]  # which figures of its runs count, and how tables and charts show them
    draws_responses: ClassVar[bool] = False  # training asks the policy for responses: algorithm, rollout and reward are needed
    trains_encoder: ClassVar[bool] = False  # a head on the sentence encoder is trained, not a causal language model
    # The losses are those of the data's responses, row by row: gradients that `drpt probe` and the plan of `drpt explain` know.
    is_supervised: ClassVar[bool] = False
    fixed_weights: ClassVar[str | None] = None  # why regularizer.base_weights has no effect; None where it has

    def check(self, spec: RunSpec) -> None:  # noqa: B027  # no rules unless a task has some
        """Check the rules that bind sections of a configuration together for this task.

        Args:
            spec: Configuration whose sections are right by themselves, with the sections that the task needs.

        Raises:
            ValueError: Two values do not go together; a `drpt.tasks.errors.NotForTaskError` where the task has no use for a
                choice at all.
        """

    def warnings(self, spec: RunSpec) -> list[str]:
        """What a configuration allows and hardly means.

        Args:
            spec: Configuration that has been checked.

        Returns:
            One line for each warning.
        """
        return []

    def check_source(self, source: Source, spec: RunSpec) -> None:  # noqa: B027  # any data unless a task says more
        """Check that the data are of the kind that the task trains on.

        Args:
            source: Source of the data.
            spec: Configuration that has been checked.

        Raises:
            NotForTaskError: The task has no use for such data.
        """

    @abstractmethod
    def assemble(self, parts: "Parts") -> "Assembly":
        """Put the run together.

        Args:
            parts: Model, data and configuration.

        Returns:
            What the trainer is given; the caller closes its ``cleanup``.

        Raises:
            ValueError: The data do not fit the model.
        """
