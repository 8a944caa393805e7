"""What does not change from step to step of a capture."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from drpt.capture.exchange import Exchange
from drpt.capture.options import Partition
from drpt.capture.partition import Block
from drpt.capture.regularizer import Regularizer


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """See the module."""

    regularizer: Regularizer
    blocks: tuple[Block, ...]  # regularized ones first
    num_regularized: int
    is_plain: bool  # one weighted loss gives the update
    owners: Mapping[str, tuple[nn.Module, str]]  # of each trained parameter: its module, and its name there
    retain_bytes: int  # what blocks of several layers may keep alive until they are complete
    updates: Exchange  # sums updates over processes
    is_sharded: bool  # FSDP2: it sums updates itself
    leaves_update: bool  # in .grad; else the step chooses coefficients, and that is all

    def must_recompute(self, expected_bytes: int, num_parts: int) -> bool:
        """Whether uses wait for coefficients and are too many to be kept, of all batches: a second pass meets them again."""
        is_kept = num_parts > 1 or self.regularizer.options.partition is not Partition.LAYER
        return self.regularizer.needs_products and is_kept and expected_bytes > self.retain_bytes

    def expected_bytes(
        self, first_bytes: int, num_first: int, num_examples: int, num_parts: int, pool: Exchange, device: torch.device
    ) -> int:
        """What all batches will announce in one process, by the first one's share of the examples; alike in all processes.

        Args:
            first_bytes: What the first batch has announced here.
            num_first: Its examples.
            num_examples: Of the step, in all processes that choose together.
            num_parts: Batches of the step.
            pool: These processes.
            device: Where processes add numbers up.

        Returns:
            In bytes.

        Raises:
            ValueError: Other processes have another number of batches, and would wait for each other for ever.
        """
        counts = [first_bytes, num_first, num_examples, num_parts, num_parts**2]
        if self.updates.num_processes > 1:
            counts = self.updates.add_up(torch.tensor(counts, device=device)).tolist()
        num_bytes, num_first, num_all, all_parts, square = counts
        if all_parts**2 != self.updates.num_processes * square:
            raise ValueError(
                f"num_parts={num_parts} here is another number in other processes; all take the same number of batches, and "
                "one may be empty."
            )
        return int(num_bytes * (num_all / pool.num_processes) / max(num_first, 1)) // self.updates.num_processes

    def parameter(self, name: str) -> nn.Parameter:
        """A trained parameter as it is now."""
        # Looked up anew: FSDP puts the whole parameter in the sharded one's place while the layer works.
        module, own = self.owners[name]
        parameter = module._parameters[own]
        assert parameter is not None
        return parameter
