"""Reward modeling as a task."""

from itertools import islice
from typing import TYPE_CHECKING

from drpt.data.preferences import NoPairsError, require_pairs
from drpt.data.source import Source
from drpt.tasks.errors import NotForTaskError
from drpt.tasks.reward.metrics import REWARD
from drpt.tasks.reward.rules import check_reward_modeling
from drpt.tasks.run_spec import RunSpec
from drpt.tasks.task import Task

if TYPE_CHECKING:
    from drpt.tasks.assembly import Assembly, Parts


class RewardTask(Task):
    """Learns a reward from preference pairs (Bradley–Terry)."""

    metrics = REWARD
    trains_encoder = True
    fixed_weights = "all pairs count alike"

    def check(self, spec: RunSpec) -> None:
        """See `Task.check`."""
        check_reward_modeling(spec)

    def check_source(self, source: Source, spec: RunSpec) -> None:
        """The data must be pairs; see `Task.check_source`.

        Raises:
            NotForTaskError: They are none.
        """
        try:
            for stream in (source.general, source.target, source.evaluation):
                require_pairs(list(islice(stream(0), 1)))
        except NoPairsError as error:
            raise NotForTaskError(str(error), group="data") from error

    def assemble(self, parts: "Parts") -> "Assembly":
        """See `Task.assemble`."""
        from drpt.tasks.reward.assembly import assemble_reward

        return assemble_reward(parts)
