"""What does not change from step to step of a capture."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from drpt.capture.collectives import Collectives
from drpt.capture.options import Partition
from drpt.capture.partition import Block
from drpt.capture.regularizer import Regularizer


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """The part of a step that is the same in all steps of a capture."""

    regularizer: Regularizer
    blocks: tuple[Block, ...]  # regularized ones first
    num_regularized: int
    is_plain: bool  # one weighted loss gives the update
    owners: Mapping[str, tuple[nn.Module, str]]  # of each trained parameter: its module, and its name there
    activation_budget_bytes: int  # what blocks of several layers may keep alive until they are complete
    updates: Collectives  # sums updates over processes
    is_sharded: bool  # FSDP2: it sums updates itself
    leaves_update: bool  # in .grad; else the step chooses coefficients, and that is all

    def needs_second_pass(self, expected_bytes: int, num_micro_batches: int) -> bool:
        """Whether the uses that wait for coefficients are too large to be kept, so that a second pass meets them again."""
        is_kept = num_micro_batches > 1 or self.regularizer.options.partition is not Partition.LAYER
        return self.regularizer.needs_products and is_kept and expected_bytes > self.activation_budget_bytes

    def expected_bytes(
        self,
        first_bytes: int,
        num_first: int,
        num_examples: int,
        num_micro_batches: int,
        together: Collectives,
        device: torch.device,
    ) -> int:
        """Bytes that all micro-batches will announce in one process, from the first one's share; the same in all processes.

        Args:
            first_bytes: Bytes that the first micro-batch has announced here.
            num_first: Examples of the first micro-batch.
            num_examples: Examples of the step, in all processes that choose together.
            num_micro_batches: Micro-batches of the step in this process.
            together: The processes that choose together.
            device: Device on which processes add numbers up.

        Returns:
            Expected bytes.

        Raises:
            ValueError: Other processes have another number of micro-batches, and would wait for each other for ever.
        """
        counts = [first_bytes, num_first, num_examples, num_micro_batches, num_micro_batches**2]
        if self.updates.num_processes > 1:
            counts = self.updates.add_up(torch.tensor(counts, device=device)).tolist()
        num_bytes, num_first, num_all, sum_of_counts, square = counts
        if sum_of_counts**2 != self.updates.num_processes * square:
            raise ValueError(
                f"this step was opened for {num_micro_batches} micro-batches here, and for another number in other processes; "
                "all take the same number, and a micro-batch may be empty."
            )
        return int(num_bytes * (num_all / together.num_processes) / max(num_first, 1)) // self.updates.num_processes

    def parameter(self, name: str) -> nn.Parameter:
        """A trained parameter as it is now."""
        # Looked up anew: FSDP puts the whole parameter in the sharded one's place while the layer works.
        module, own = self.owners[name]
        parameter = module._parameters[own]
        assert parameter is not None
        return parameter
