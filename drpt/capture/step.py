"""One step in progress: which uses the backward pass has reached, what their products add up to, which blocks are done."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drpt.capture.attendance import Attendance
from drpt.capture.check import Check
from drpt.capture.cost import Need
from drpt.capture.diagnostics import BlockGroup, StepReport
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.layers.shared import SharedTensor
from drpt.capture.measure import Measure
from drpt.capture.options import ProductsMethod
from drpt.capture.partial import PartialProducts
from drpt.capture.replay import Replay
from drpt.capture.rows import StepRows
from drpt.capture.segments import Examples, Layout
from drpt.capture.step_plan import StepPlan
from drpt.capture.target import TargetGradient
from drpt.capture.tokens import RecentTokens
from drpt.capture.updates import add_update, backward_of_mean
from drpt.capture.use import Use
from drpt.capture.waiting import WaitingBlocks
from drpt.geometry.products import Coefficients, NonFiniteProductsError, Products

Losses = Float[Tensor, " example"]


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
        target: A target gradient that is given.
        check: What has been proved of the model.
    """

    def __init__(
        self,
        plan: StepPlan,
        measure: Measure,
        rows: StepRows,
        layout: Layout,
        *,
        num_parts: int,
        scale: float,
        target: TargetGradient | None = None,
        check: Check,
    ) -> None:
        self.layout = layout
        self.recent = RecentTokens()
        self.anchor = torch.zeros((), requires_grad=True)
        self.trial = check.trial(self.anchor)
        self._check = check
        self._plan = plan
        self._measure = measure
        self._rows = rows
        self._num_parts = num_parts
        self._scale = scale
        self._target = target
        self._block_of = {name: index for index, block in enumerate(plan.blocks) for name in block.parameters}
        self._outstanding: Counter[str] = Counter()  # uses of each parameter
        self._blocks: defaultdict[int, _Progress] = defaultdict(_Progress)
        self._waiting = WaitingBlocks(plan.updates.num_processes)
        self._attendance = Attendance(rows, measure.extent.exchange)
        self._announced_bytes = 0
        self._expected_bytes = 0  # of all batches
        self._parts_done = 0
        self._is_last_part = num_parts == 1
        self._is_over = False
        self._is_second_pass = False  # of a recomputation: coefficients are known
        self._partial: PartialProducts | None = None  # several parts whose uses are not kept
        self._replays: list[Replay] = []
        self._is_recomputing = False
        self._groups: list[BlockGroup] = []
        self._rounding = 0.0  # coarsest machine epsilon of what updates are formed from

    def part(self, *, examples: Examples | None = None, example_of_token: Int[Tensor, "row token"] | None = None) -> None:
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
            ValueError: One loss an example was expected; an example came never or twice; processes differ in their batches.
            UnsupportedModuleError: No forward of the model passed through the capture.
            RuntimeError: There are more batches than the step was opened for.
        """
        if self._parts_done == self._num_parts:
            raise RuntimeError(f"this step was opened for num_parts={self._num_parts}, and another backward pass followed.")
        replay = Replay(sample_losses, self.layout)
        losses = replay.first()
        if isinstance(losses, SharedTensor):
            raise UnsupportedModuleError(
                "the losses are made of values that all rows share: the batch's rows are not the first axis inside the model, "
                "or the model was called with other rows than the step's. Call it once with all rows of the batch, and "
                "announce further batches by step.part."
            )
        if losses.shape != (len(self.layout.examples),):
            raise ValueError(
                f"sample_losses has shape {tuple(losses.shape)}; this batch holds {len(self.layout.examples)} of the step's "
                f"{self._rows.num_general} general and {self._rows.num_target} target examples, so "
                f"({len(self.layout.examples)},) was expected."
            )
        self._is_last_part = self._parts_done == self._num_parts - 1
        self._attendance.add(self.layout.examples)
        if self._parts_done == 0:
            self._rows = self._rows.to(losses.device)
            counts = (self._announced_bytes, len(self.layout.examples), self._rows.num_examples, self._num_parts)
            self._expected_bytes = self._plan.expected_bytes(*counts, self._measure.extent.exchange, losses.device)
        if self._is_last_part:
            self._attendance.require_everyone(losses.device)
        # Autocast is for forward passes: here it would round sums, gramians and what solvers make of them.
        with torch.autocast(losses.device.type, enabled=False):
            if self._plan.is_plain:
                self._backward_of_mean(losses)
            else:
                self._backward(losses, replay)
        if self._is_last_part and self._is_recomputing and self._plan.leaves_update:
            self._second_pass(losses)
        self.trial = self._check.trial(self.anchor)
        self._parts_done += 1
        self._is_over = self._is_last_part
        return losses

    def finish(self) -> None:
        """Leave the update of a step without examples, whose target gradient is given: target-only training.

        Raises:
            RuntimeError: The step has examples, or no target gradient is given.
        """
        if self._target is None or self._rows.num_examples:
            raise RuntimeError("finish is for steps without examples whose target gradient is given; else call backward.")
        if self._plan.is_plain:
            self._choose_plainly()
        else:
            self._choose_without_products()
        self._is_over = True

    def cancel(self) -> None:
        """Let the step be closed without an update, as after a loss that is not finite; throw away what is in ``.grad``."""
        self._is_over = True

    def require_end(self) -> None:
        """Refuse to be closed before the update is there.

        Raises:
            RuntimeError: Batches are missing.
        """
        if not self._is_over:
            raise RuntimeError(
                f"this step was opened for num_parts={self._num_parts} and closed after {self._parts_done}: call its "
                "backward(sample_losses) once a batch (an ordinary backward pass forms no update here), finish() where "
                "there is no batch, or cancel() to leave it."
            )

    def report(self) -> StepReport:
        """What was chosen and how the update compares with the target gradient, block by block."""
        is_whole = self._measure.extent.exchange.num_processes == self._plan.updates.num_processes
        is_exact = self._plan.regularizer.options.products is not ProductsMethod.SKETCH
        return StepReport(
            tuple(self._groups),
            tuple(block.name for block in self._plan.blocks),
            scale=self._scale,
            rounding=self._rounding if is_whole and is_exact else None,
        )

    # What the sites call; see `drpt.capture.sites.Recorder`.

    def announce(self, names: Sequence[str], num_bytes: int) -> None:
        """Count a use of these parameters that was put into the graph."""
        # A forward inside the backward pass is gradient checkpointing rebuilding activations of a use counted before.
        is_again = torch._C._current_graph_task_id() != -1 or (self.trial is not None and self.trial.is_running)
        if torch.is_grad_enabled() and not is_again and not self._is_second_pass:
            self._announced_bytes += num_bytes
            for name in names:
                self._outstanding[name] += 1
                self._blocks[self._block_of[name]].outstanding += 1

    @torch.no_grad()
    def record(self, uses: Sequence[tuple[str, Use]]) -> None:
        """Measure or apply what the backward pass has reached; finish what is complete."""
        for name, use in uses:
            self._rounding = max(self._rounding, torch.finfo(use.dtype).eps)
            block = self._blocks[self._block_of[name]]
            if not self._is_second_pass:
                self._count_down(name, block)
            if block.coefficients is not None:
                if self._is_second_pass or not self._is_recomputing:
                    add_update(self._plan, name, [use], block.coefficients)
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
            self._is_recomputing = self._plan.must_recompute(self._expected_bytes, self._num_parts)
            self._waiting.expect(self._expected_bytes / self._num_parts / max(self._plan.num_regularized, 1))
            if self._is_recomputing and self._num_parts > 1:
                self._partial = PartialProducts(self._measure, self._rows)
        is_single = self._num_parts == 1
        if self._is_recomputing and not is_single:
            replay.require_function()
            self._replays.append(replay)
        if self._partial is not None:
            self._partial.next_batch(self.layout.examples, losses.device)
        if self._is_last_part:
            self._require_use()
            self._measure_what_is_left()  # of earlier parts, and not used in this one
        if self.trial is not None:
            self.trial.prove(losses, self.layout, self._plan.updates if self._plan.is_sharded else None)
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
            self.trial = None
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
        self._apply(others, self._rows.ordinary_coefficients(len(others)))
        if not plan.regularizer.needs_products:
            blocks = range(plan.num_regularized)
            chosen = self._coefficients(None, blocks)
            self._groups.append(BlockGroup(tuple(blocks), chosen, None))
            self._apply(blocks, chosen)

    def _require_use(self) -> None:
        if not self._outstanding:
            raise UnsupportedModuleError(
                "no trained parameter was used within this step: call the model between opening the step and step.backward. "
                "Adapters that are merged or disabled are not used, and reentrant gradient checkpointing hides what is "
                "(use_reentrant=False does not)."
            )

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
            self._partial.add(name, block.uses.pop(name), self._direction(name))
        elif self._is_last_part:
            self._measure_parameter(name, block)
            if block.outstanding == 0:
                self._block_is_measured(self._block_of[name])

    def _measure_parameter(self, name: str, block: _Progress) -> None:
        self._add_sums(block, self._measure(block.uses[name], self._direction(name)))
        block.measured.add(name)
        if self._is_recomputing:
            del block.uses[name]

    def _measure_what_is_left(self) -> None:
        for block in self._blocks.values():
            for name in [name for name in block.uses if self._outstanding[name] == 0 and name not in block.measured]:
                self._measure_parameter(name, block)

    def _add_unreached(self, index: int, block: _Progress) -> None:
        """Of a target gradient that is given, the parts of parameters that no example reached count in ``<v, v>``."""
        if self._target is None:
            return
        n = self._rows.num_general
        for name in self._plan.blocks[index].parameters:
            if name not in block.measured:
                direction = self._direction(name)
                assert direction is not None
                shapes = [(n,), (n, n)] if self._measure.need is Need.GRAMIAN else [(n,)]
                along, *gramian = (direction.new_zeros(shape) for shape in shapes)
                self._add_sums(block, (along, direction.square().sum(), *gramian))

    def _direction(self, name: str) -> Tensor | None:
        if self._target is None:
            return None
        return self._target.direction(name, self._plan.parameter(name))

    def _add_sums(self, block: _Progress, found: tuple[Tensor, ...]) -> None:
        block.sums = found if block.sums is None else tuple(a + b for a, b in zip(block.sums, found, strict=True))

    def _block_is_measured(self, index: int) -> None:
        block = self._blocks[index]
        block.is_measured = True
        self._add_unreached(index, block)
        self._waiting.add(index, sum(use.num_bytes for uses in block.uses.values() for use in uses))
        # In a recomputation all are solved together; a sharded layer's update is formed while its parameters are whole.
        if not self._is_recomputing and (self._plan.is_sharded or self._waiting.is_full):
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
                block = self._blocks[self._block_of[name]]
                self._add_sums(block, found)
                block.measured.add(name)
        else:
            self._measure_what_is_left()
        is_given = self._target is not None and self._plan.regularizer.needs_products
        for index in range(self._plan.num_regularized) if is_given else sorted(self._blocks):
            block = self._blocks[index]
            if not block.is_measured and (is_given or block.sums is not None):
                self._block_is_measured(index)
        self._solve()

    def _solve(self) -> None:
        """Choose the waiting blocks' coefficients, and form their updates unless a second pass does."""
        if waiting := self._waiting.take():
            products = self._measure.products([self._blocks[index].sums or () for index in waiting])
            chosen = self._coefficients(products, waiting)
            self._groups.append(BlockGroup(tuple(waiting), chosen, products))
            self._apply(waiting, chosen)

    def _coefficients(self, products: Products | None, blocks: Sequence[int]) -> Coefficients:
        try:
            return self._plan.regularizer.coefficients(self._rows.general, products, blocks)
        except NonFiniteProductsError as error:  # which knows blocks by number
            names = ", ".join(self._plan.blocks[index].name for index in error.blocks) or "a score"
            raise NonFiniteProductsError(
                f"draw {self._rows.general.draw}, in {names}: {error}", blocks=error.blocks, example_ids=error.example_ids
            ) from error

    def _apply(self, blocks: Sequence[int], chosen: Coefficients) -> None:
        table = (self._scale * self._rows.coefficients_of_examples(chosen).double()).tolist()
        for index, coefficients in zip(blocks, table, strict=True):
            block = self._blocks[index]
            block.coefficients, block.sums = coefficients, None
            for name, uses in block.uses.items():
                add_update(self._plan, name, uses, coefficients)
            block.uses.clear()
        self._add_target(blocks, chosen.target)

    def _add_target(self, blocks: Sequence[int], shares: Float[Tensor, " block"]) -> None:
        """The share ``a v`` of a target gradient that is given; it is the same in all processes, and nothing is summed."""
        if self._target is None or not self._plan.leaves_update:
            return
        for index, share in zip(blocks, (self._scale * shares.double()).tolist(), strict=True):
            for name in self._plan.blocks[index].parameters:
                self._target.add_to(name, self._plan.parameter(name), share)

    def _backward_of_mean(self, losses: Tensor) -> None:
        """One weighted loss gives the update: the model runs as it is."""
        coefficients = self._choose_plainly()
        of_examples = self._rows.coefficients_of_examples(coefficients)[0, list(self.layout.examples)]
        backward_of_mean(self._plan, losses, of_examples * self._scale)

    def _choose_plainly(self) -> Coefficients:
        """Coefficients that all blocks have in common."""
        if self._groups:
            return self._groups[0].coefficients
        chosen = self._plan.regularizer.coefficients(self._rows.general, None, [0])
        self._groups.append(BlockGroup((0,), chosen, None))
        everywhere = range(len(self._plan.blocks))
        self._add_target(everywhere, chosen.target.expand(len(everywhere)))
        return chosen
