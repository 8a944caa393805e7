"""What does not change from step to step of a capture."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from drpt.capture.exchange import Exchange
from drpt.capture.partition import Block
from drpt.geometry.catalogue import Partition
from drpt.geometry.regularizer import Regularizer


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
        is_kept = num_parts > 1 or self.regularizer.partition is not Partition.LAYER
        return self.regularizer.needs_products and is_kept and expected_bytes > self.retain_bytes

    def parameter(self, name: str) -> nn.Parameter:
        """A trained parameter as it is now."""
        # Looked up anew: FSDP puts the whole parameter in the sharded one's place while the layer works.
        module, own = self.owners[name]
        parameter = module._parameters[own]
        assert parameter is not None
        return parameter
