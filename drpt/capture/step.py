"""One step in progress: which uses the backward pass has reached, what their products add up to, which blocks are done."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from drpt.capture.diagnostics import BlockGroup, StepReport
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.exchange import Exchange
from drpt.capture.measure import Measure
from drpt.capture.partial import PartialProducts
from drpt.capture.partition import Block
from drpt.capture.replay import Replay
from drpt.capture.rows import StepRows
from drpt.capture.segments import Layout
from drpt.capture.tokens import RecentTokens
from drpt.capture.use import Use
from drpt.geometry.catalogue import Partition
from drpt.geometry.products import Coefficients
from drpt.geometry.regularizer import Regularizer

# Blocks that are complete wait for each other, so that one call solves for several: a small quadratic program costs mostly
# the calls. What they keep alive meanwhile is bounded.
_WAITING_BLOCKS = 48
WAITING_BYTES = 128 * 2**20

Losses = Float[Tensor, " example"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """What does not change from step to step."""

    regularizer: Regularizer
    blocks: tuple[Block, ...]  # regularized ones first
    num_regularized: int
    is_plain: bool  # one weighted loss gives the update
    owners: Mapping[str, tuple[nn.Module, str]]  # of each trained parameter: its module, and its name there
    retain_bytes: int  # what blocks of several layers may keep alive until they are complete
    updates: Exchange  # sums updates over processes
    is_sharded: bool  # FSDP2: it sums updates itself
    leaves_update: bool  # in .grad; else the step chooses coefficients, and that is all

    def must_recompute(self, announced_bytes: int, num_parts: int) -> bool:
        """Whether uses wait for coefficients and are too many to be kept, of all batches: a second pass meets them again."""
        is_kept = num_parts > 1 or self.regularizer.partition is not Partition.LAYER
        return self.regularizer.needs_products and is_kept and announced_bytes * num_parts > self.retain_bytes


@dataclass(slots=True)
class _Progress:
    """One block's."""

    outstanding: int = 0  # uses announced and not yet reached
    sums: tuple[Tensor, ...] | None = None  # of products, over the parameters measured so far
    uses: dict[str, list[Use]] = field(default_factory=dict)  # not yet measured, or kept for the update
    measured: set[str] = field(default_factory=set)  # parameters whose products are in the sums
    is_measured: bool = False  # all of them are
    coefficients: list[float] | None = None  # of the examples, once chosen


class CaptureStep:
    """One optimizer step; see `drpt.capture.capture.GradientCapture.step`.

    Args:
        plan: What does not change from step to step.
        measure: Computes products.
        rows: Examples of the step.
        layout: Of the first batch.
        num_parts: Batches that the step consists of.
        scale: What the update is multiplied by.
    """

    def __init__(
        self, plan: StepPlan, measure: Measure, rows: StepRows, layout: Layout, *, num_parts: int, scale: float
    ) -> None:
        self.layout = layout
        self.recent = RecentTokens()
        self.anchor = torch.zeros((), requires_grad=True)
        self._plan = plan
        self._measure = measure
        self._rows = rows
        self._num_parts = num_parts
        self._scale = scale
        self._block_of = {name: index for index, block in enumerate(plan.blocks) for name in block.parameters}
        self._outstanding: Counter[str] = Counter()  # uses of each parameter
        self._blocks: defaultdict[int, _Progress] = defaultdict(_Progress)
        self._waiting: list[int] = []
        self._waiting_bytes = 0
        self._announced_bytes = 0
        self._parts_done = 0
        self._is_last_part = num_parts == 1
        self._is_second_pass = False  # of a recomputation: coefficients are known
        self._partial: PartialProducts | None = None  # several parts whose uses are not kept
        self._replays: list[Replay] = []
        self._is_recomputing = False
        self._groups: list[BlockGroup] = []

    def part(self, *, examples: Sequence[int] | None = None, example_of_token: Int[Tensor, "row token"] | None = None) -> None:
        """Say which of the step's examples the next batch holds, before its forward pass.

        Args:
            examples: The example of each row: general ones from 0, target ones after them.
            example_of_token: Instead, the example of each token, −1 for padding; for padded and packed batches.

        Raises:
            ValueError: Neither or both are given.
        """
        if (examples is None) == (example_of_token is None):
            raise ValueError("a part is described by examples=… or by example_of_token=…, one of the two.")
        self.layout = Layout(() if examples is None else examples, example_of_token)

    def backward(self, sample_losses: Losses | Callable[[], Losses]) -> Losses:
        """Run the backward pass of one batch; the last one leaves the regularized update in ``.grad``, added to it.

        Args:
            sample_losses: Loss of each example of the batch, ascending; any scale of it is part of the example's gradient. Or a
                function that computes them, which a step of several parts may have to call twice.

        Returns:
            The losses.

        Raises:
            ValueError: One loss an example was expected.
            RuntimeError: There are more batches than the step was opened for.
        """
        if self._parts_done == self._num_parts:
            raise RuntimeError(f"this step was opened for num_parts={self._num_parts}, and another backward pass followed.")
        replay = Replay(sample_losses, self.layout)
        losses = replay.first()
        if losses.shape != (len(self.layout.examples),):
            raise ValueError(
                f"sample_losses has shape {tuple(losses.shape)}; this batch holds {len(self.layout.examples)} of the step's "
                f"{self._rows.num_general} general and {self._rows.num_target} target examples, so "
                f"({len(self.layout.examples)},) was expected."
            )
        self._is_last_part = self._parts_done == self._num_parts - 1
        # Autocast is for forward passes: here it would round sums, gramians and what solvers make of them.
        with torch.autocast(losses.device.type, enabled=False):
            if self._plan.is_plain:
                self._backward_of_mean(losses)
            else:
                self._backward(losses, replay)
        if self._is_last_part and self._is_recomputing and self._plan.leaves_update:
            self._second_pass(losses)
        self._parts_done += 1
        return losses

    def report(self) -> StepReport:
        """What was chosen and how the update compares with the target gradient, block by block."""
        return StepReport(tuple(self._groups), tuple(block.name for block in self._plan.blocks))

    # What the sites call; see `drpt.capture.sites.Recorder`.

    def announce(self, names: Sequence[str], num_bytes: int) -> None:
        """Count a use of these parameters that was put into the graph."""
        # A forward inside the backward pass is gradient checkpointing rebuilding activations of a use counted before.
        if torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1 and not self._is_second_pass:
            self._announced_bytes += num_bytes
            for name in names:
                self._outstanding[name] += 1
                self._blocks[self._block_of[name]].outstanding += 1

    @torch.no_grad()
    def record(self, uses: Sequence[tuple[str, Use]]) -> None:
        """Measure or apply what the backward pass has reached; finish what is complete."""
        for name, use in uses:
            block = self._blocks[self._block_of[name]]
            if not self._is_second_pass:
                self._count_down(name, block)
            if block.coefficients is not None:
                if self._is_second_pass or not self._is_recomputing:
                    self._add_update(name, [use], block.coefficients)
                continue
            block.uses.setdefault(name, []).append(use)
            if self._outstanding[name] == 0:
                self._parameter_is_reached(name, block)

    def forget(self) -> None:
        """Free activations, whatever happened."""
        # A recorded use, the graph and the step form a circle that Python's collector does not see.
        self.recent.forget()
        self._blocks.clear()
        self._replays.clear()
        self._partial = None

    # A parameter is measured when all its uses are there, a block solved when all its parameters are measured.

    def _backward(self, losses: Tensor, replay: Replay) -> None:
        if self._parts_done == 0:
            self._choose_without_products()
            self._is_recomputing = self._plan.must_recompute(self._mean_announced_bytes(losses.device), self._num_parts)
            if self._is_recomputing and self._num_parts > 1:
                self._partial = PartialProducts(self._measure, self._rows)
        is_single = self._num_parts == 1
        if self._is_recomputing and not is_single:
            replay.require_function()
            self._replays.append(replay)
        if self._is_last_part:
            self._measure_what_is_left()  # of earlier parts, and not used in this one
        losses.sum().backward(retain_graph=self._is_recomputing and is_single and self._plan.leaves_update)
        self._drop_unreached()
        if not self._is_last_part:
            return
        with torch.no_grad():
            self._finish()

    def _second_pass(self, losses: Tensor) -> None:
        """Form the update of all batches, now that coefficients are known."""
        self._is_second_pass = True
        for known in self._replays:
            self.layout = known.layout
            again = known.again()
            with torch.autocast(again.device.type, enabled=False):
                again.sum().backward()
        if self._num_parts == 1:
            with torch.autocast(losses.device.type, enabled=False):
                losses.sum().backward()

    def _choose_without_products(self) -> None:
        """Coefficients that do not depend on gradients are there from the start, and each use is applied as it comes."""
        plan = self._plan
        others = range(plan.num_regularized, len(plan.blocks))
        self._apply(others, ordinary_coefficients(self._rows, len(others)))
        if not plan.regularizer.needs_products:
            blocks = range(plan.num_regularized)
            chosen = plan.regularizer.coefficients(self._rows.general, None, blocks)
            self._groups.append(BlockGroup(tuple(blocks), chosen, None))
            self._apply(blocks, chosen)

    def _mean_announced_bytes(self, device: torch.device) -> int:
        """Over processes, so that all come to the same decision."""
        updates = self._plan.updates
        return int(updates.add_up(torch.tensor(self._announced_bytes, device=device))) // updates.num_processes

    def _count_down(self, name: str, block: _Progress) -> None:
        if self._outstanding[name] < 1:
            raise UnsupportedModuleError(
                f"{name} was used again after its block {self._plan.blocks[self._block_of[name]].name!r} was complete: one "
                "forward and one backward pass a batch; reentrant gradient checkpointing is not covered "
                "(use_reentrant=False is)."
            )
        self._outstanding[name] -= 1
        block.outstanding -= 1

    def _parameter_is_reached(self, name: str, block: _Progress) -> None:
        if self._partial is not None:
            self._partial.add(name, block.uses.pop(name))
        elif self._is_last_part:
            self._measure_parameter(name, block)
            if block.outstanding == 0:
                self._block_is_measured(self._block_of[name])

    def _measure_parameter(self, name: str, block: _Progress) -> None:
        self._add_sums(block, self._measure(block.uses[name]))
        block.measured.add(name)
        if self._is_recomputing:
            del block.uses[name]

    def _measure_what_is_left(self) -> None:
        for block in self._blocks.values():
            for name in [name for name in block.uses if self._outstanding[name] == 0 and name not in block.measured]:
                self._measure_parameter(name, block)

    def _add_sums(self, block: _Progress, found: tuple[Tensor, ...]) -> None:
        block.sums = found if block.sums is None else tuple(a + b for a, b in zip(block.sums, found, strict=True))

    def _block_is_measured(self, index: int) -> None:
        block = self._blocks[index]
        block.is_measured = True
        self._waiting.append(index)
        if self._is_recomputing:
            return  # all are solved together
        self._waiting_bytes += sum(use.num_bytes for uses in block.uses.values() for use in uses)
        is_full = self._plan.is_sharded or len(self._waiting) >= _WAITING_BLOCKS
        # Processes take the same turns: with several, only what is alike in all decides.
        is_heavy = self._plan.updates.num_processes == 1 and self._waiting_bytes > WAITING_BYTES
        if is_full or is_heavy:
            self._solve()

    def _drop_unreached(self) -> None:
        """Uses that the loss does not depend on were announced and never reached."""
        for name in [name for name, count in self._outstanding.items() if count > 0]:
            self._blocks[self._block_of[name]].outstanding -= self._outstanding[name]
            self._outstanding[name] = 0

    def _finish(self) -> None:
        """What is left is complete now."""
        if self._partial is not None:
            for name, found in self._partial.products():
                self._add_sums(self._blocks[self._block_of[name]], found)
        else:
            self._measure_what_is_left()
        for index in sorted(self._blocks):
            block = self._blocks[index]
            if not block.is_measured and block.sums is not None:
                self._block_is_measured(index)
        self._solve()

    def _solve(self) -> None:
        """Choose the waiting blocks' coefficients, and form their updates unless a second pass does."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if waiting:
            products = self._measure.products([self._blocks[index].sums or () for index in waiting])
            chosen = self._plan.regularizer.coefficients(self._rows.general, products, waiting)
            self._groups.append(BlockGroup(tuple(waiting), chosen, products))
            self._apply(waiting, chosen)

    def _apply(self, blocks: Sequence[int], chosen: Coefficients) -> None:
        table = (self._scale * self._rows.coefficients_of_examples(chosen).double()).tolist()
        for index, coefficients in zip(blocks, table, strict=True):
            block = self._blocks[index]
            block.coefficients, block.sums = coefficients, None
            for name, uses in block.uses.items():
                self._add_update(name, uses, coefficients)
            block.uses.clear()

    def _add_update(self, name: str, uses: Sequence[Use], coefficients: Sequence[float]) -> None:
        """Add the uses' updates to ``.grad``, in place where that is allowed."""
        plan = self._plan
        if not plan.leaves_update:
            return
        parameter = _own_parameter(*plan.owners[name])
        gradient = parameter.grad
        if plan.is_sharded:  # FSDP2 averages what processes leave here
            coefficients = [coefficient * plan.updates.num_processes for coefficient in coefficients]
        elif plan.updates.num_processes > 1:
            gradient = None
        for use in uses:
            own = [coefficients[example] for example in use.segments.examples]
            if gradient is None:
                gradient = use.update(own, None).to(parameter.dtype)
            elif use.dtype == gradient.dtype:
                gradient = use.update(own, gradient)
            else:
                gradient.add_(use.update(own, None))
        assert gradient is not None
        gradient = gradient.view_as(parameter)
        if plan.updates.num_processes > 1 and not plan.is_sharded:
            gradient = plan.updates.add_up(gradient)
            gradient = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        parameter.grad = gradient

    def _backward_of_mean(self, losses: Tensor) -> None:
        """One weighted loss gives the update: the model runs as it is."""
        plan = self._plan
        coefficients = plan.regularizer.coefficients(self._rows.general, None, [0])
        if not self._groups:
            self._groups.append(BlockGroup((0,), coefficients, None))
        weights = self._rows.coefficients_of_examples(coefficients)[0, list(self.layout.examples)] * self._scale
        parameters = [_own_parameter(*owner) for owner in plan.owners.values()]
        is_summed_here = plan.updates.num_processes > 1 and not plan.is_sharded
        if plan.is_sharded:
            weights = weights * plan.updates.num_processes
        before = [parameter.grad for parameter in parameters]
        if is_summed_here:
            for parameter in parameters:
                parameter.grad = None
        (weights.to(losses) * losses).sum().backward()
        if is_summed_here:
            for parameter, earlier in zip(parameters, before, strict=True):
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradient = plan.updates.add_up(gradient)
                parameter.grad = gradient if earlier is None else earlier.add_(gradient)


def ordinary_coefficients(rows: StepRows, num_blocks: int) -> Coefficients:
    """Of parameters that are not regularized: the general mean, or the target gradient in a step without general examples."""
    weights = rows.general.weights(num_blocks)
    is_target = 0.0 if rows.num_general else 1.0
    return Coefficients(general=weights, target=weights.new_full((num_blocks,), is_target))


def _own_parameter(module: nn.Module, name: str) -> nn.Parameter:
    # Looked up anew: FSDP puts the whole parameter in the sharded one's place while the layer works.
    parameter = module._parameters[name]
    assert parameter is not None
    return parameter
