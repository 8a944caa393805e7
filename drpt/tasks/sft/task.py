"""Supervised fine-tuning as a task."""

from typing import TYPE_CHECKING

from drpt.data.source import NoResponsesError, Source, require_responses
from drpt.tasks.errors import NotForTaskError
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.sft.metrics import SFT
from drpt.tasks.task import Task

if TYPE_CHECKING:
    from drpt.tasks.assembly import Assembly, Parts


class SupervisedTask(Task):
    """Imitates the responses of conversations."""

    metrics = SFT
    is_supervised = True

    def check_source(self, source: Source, spec: RunSpec) -> None:
        """The data must have responses; see `Task.check_source`.

        Raises:
            NotForTaskError: They have none.
        """
        try:
            require_responses(source, name=spec.data.label, why=f"task={spec.task.name} imitates responses")
        except NoResponsesError as error:
            raise NotForTaskError(str(error), group="data") from error

    def assemble(self, parts: "Parts") -> "Assembly":
        """See `Task.assemble`."""
        from drpt.tasks.sft.assembly import assemble_supervised

        return assemble_supervised(parts)
