"""Every step's products and update in one forward and one backward pass.

    with capture.step(rows) as step:
        step.backward(sample_losses(model(...), ...))
    optimizer.step()

During the step the forwards of modules that own trained parameters are replaced (see `drpt.capture.rules`). Each use leaves
its activations and output gradients; as soon as all uses of a block's parameters have been reached by the backward pass,
the block's products go to the regularizer, its coefficients form the update, the update is added to ``.grad`` and the
activations are freed. Under the layer partition nothing outlives its own layer's backward.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drpt.capture.diagnostics import BlockReport, StepReport
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.partition import partition_parameters
from drpt.capture.products import parameter_gramian, parameter_products
from drpt.capture.rows import StepRows
from drpt.capture.sites import captured_forwards, find_sites, trained_parameters
from drpt.capture.use import Use
from drpt.geometry.products import Coefficients, Products
from drpt.geometry.regularizer import Regularizer


class GradientCapture:
    """Gives a model's trained parameters the update of a regularizer instead of their gradient.

    Args:
        model: Any module; the parameters that require gradients now are the trained ones.
        regularizer: What decides the update.

    Raises:
        UnsupportedModuleError: A trained parameter belongs to a module without a rule.
    """

    def __init__(self, model: nn.Module, regularizer: Regularizer) -> None:
        self.regularizer = regularizer
        self.parameters = trained_parameters(model)
        self.blocks = partition_parameters(self.parameters, regularizer.partition)
        # Where one weighted loss gives the update, the model runs as it is.
        self._sites = [] if regularizer.is_constant else find_sites(model)

    @contextmanager
    def step(self, rows: StepRows) -> Iterator["CaptureStep"]:
        """Open the capture for one forward and one backward pass.

        Args:
            rows: Which rows of the batch are general and which are target examples.

        Yields:
            The step; call its `backward` once.

        Raises:
            ValueError: The regularizer needs a target gradient and the step has no target row.
        """
        regularizer = self.regularizer
        if regularizer.needs_products and rows.num_target == 0:
            raise ValueError("this regularizer compares with the target gradient: give it data.target_rows of at least 1.")
        if regularizer.needs_spread and rows.num_target == 1:
            raise ValueError("an automatic strength looks at the spread among target rows: data.target_rows of at least 2.")
        step = CaptureStep(self, rows)
        try:
            with captured_forwards(self._sites, self.parameters, step):
                yield step
        finally:
            step.forget()


class CaptureStep:
    """One step in progress: the uses that the backward pass has reached, and the blocks that are done."""

    def __init__(self, capture: GradientCapture, rows: StepRows) -> None:
        self.rows = rows
        self.num_rows = rows.num_rows
        self.anchor = torch.zeros((), requires_grad=True)
        self._capture = capture
        self._block_of = {name: index for index, block in enumerate(capture.blocks) for name in block.parameters}
        self._outstanding: Counter[int] = Counter()
        self._uses: defaultdict[str, list[Use]] = defaultdict(list)
        self._reports: dict[int, BlockReport] = {}
        self._constant: Coefficients | None = None  # of all blocks alike, when one weighted loss gave the update

    def backward(self, sample_losses: Float[Tensor, " batch"]) -> None:
        """Run the backward pass and leave the regularized update in ``.grad``, added to what is there.

        Args:
            sample_losses: Loss of each row, general rows first; any per-row scale is part of the example's gradient.

        Raises:
            ValueError: One loss a row was expected.
        """
        if sample_losses.shape != (self.rows.num_rows,):
            raise ValueError(
                f"sample_losses has shape {tuple(sample_losses.shape)}; the step has {self.rows.num_general} general and "
                f"{self.rows.num_target} target rows, so ({self.rows.num_rows},) was expected."
            )
        if self._capture.regularizer.is_constant:
            coefficients = self._capture.regularizer.coefficients(self.rows.general, None, [0])
            weights = self.rows.coefficients_of_rows(coefficients, 0)
            (weights.to(sample_losses) * sample_losses).sum().backward()
            self._constant = coefficients
            return
        sample_losses.sum().backward()
        with torch.no_grad():
            # Uses that the loss does not depend on were announced and never reached.
            for index in [index for index, count in self._outstanding.items() if count > 0]:
                self._finish(index)

    def report(self) -> StepReport:
        """What was chosen and how the update compares with the target gradient, block by block."""
        if self._constant is not None:
            return StepReport((("global", BlockReport(coefficients=self._constant, products=None)),))
        blocks = self._capture.blocks
        return StepReport(tuple((blocks[index].name, self._reports[index]) for index in sorted(self._reports)))

    def announce(self, names: Sequence[str]) -> None:
        """Count a use of these parameters that was put into the graph."""
        # A forward inside the backward pass is gradient checkpointing rebuilding activations of a use counted before.
        if torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1:
            for name in names:
                self._outstanding[self._block_of[name]] += 1

    def record(self, uses: Sequence[tuple[str, Use]]) -> None:
        """Keep uses that the backward pass has reached; finish each block that is complete."""
        for name, use in uses:
            index = self._block_of[name]
            if index in self._reports or self._outstanding[index] < 1:
                raise UnsupportedModuleError(
                    f"{name} was used again after its block {self._capture.blocks[index].name!r} was complete: one forward "
                    "and one backward pass a step; reentrant gradient checkpointing is not covered (use_reentrant=False is)."
                )
            self._uses[name].append(use)
            self._outstanding[index] -= 1
            if self._outstanding[index] == 0:
                self._finish(index)

    def forget(self) -> None:
        """Free activations, whatever happened."""
        self._uses.clear()

    def _finish(self, index: int) -> None:
        capture, rows = self._capture, self.rows
        uses = {name: self._uses.pop(name) for name in capture.blocks[index].parameters if self._uses[name]}
        self._outstanding[index] = 0
        if not uses:
            return
        device_type = next(iter(capture.parameters.values())).device.type
        with torch.autocast(device_type, enabled=False):
            products = self._products(uses) if capture.regularizer.needs_products else None
            coefficients = capture.regularizer.coefficients(rows.general, products, [index])
            row_coefficients = rows.coefficients_of_rows(coefficients, 0)
            for name, uses_of_parameter in uses.items():
                _add_update(capture.parameters[name], uses_of_parameter, row_coefficients)
        self._reports[index] = BlockReport(coefficients=coefficients, products=products)

    def _products(self, uses: dict[str, list[Use]]) -> Products:
        regularizer = self._capture.regularizer
        method = regularizer.products
        if regularizer.needs_spread:
            return self._joint_products(uses)
        pairs = [parameter_products(uses_of_parameter, self.rows, method) for uses_of_parameter in uses.values()]
        alignment, target_sq = pairs[0]
        for other_alignment, other_target_sq in pairs[1:]:
            alignment, target_sq = alignment + other_alignment, target_sq + other_target_sq
        gramian = self._gramian(uses, self.rows.num_general)[None] if regularizer.needs_gramian else None
        return Products(alignment=alignment[None], target_sq=target_sq[None], gramian=gramian)

    def _joint_products(self, uses: dict[str, list[Use]]) -> Products:
        """Everything from the gramian of all rows, general and target."""
        n = self.rows.num_general
        joint = self._gramian(uses, self.rows.num_rows)[None]
        cross, target_gramian = joint[:, :n, n:], joint[:, n:, n:]
        return Products(
            alignment=cross.mean(dim=2),
            target_sq=target_gramian.mean(dim=(1, 2)),
            gramian=joint[:, :n, :n],
            cross=cross,
            target_gramian=target_gramian,
        )

    def _gramian(self, uses: dict[str, list[Use]], num_rows: int) -> Tensor:
        method = self._capture.regularizer.products
        parts = [parameter_gramian(uses_of_parameter, num_rows, method) for uses_of_parameter in uses.values()]
        return sum(parts[1:], parts[0])


def _add_update(parameter: nn.Parameter, uses: Sequence[Use], row_coefficients: Tensor) -> None:
    """Add the uses' updates to ``.grad``, in place where the dtypes agree."""
    gradient = parameter.grad
    for use in uses:
        if gradient is None:
            gradient = use.update(row_coefficients, None).to(parameter.dtype)
        else:
            is_same = use.dtype == gradient.dtype
            gradient = use.update(row_coefficients, gradient) if is_same else gradient.add_(use.update(row_coefficients, None))
    parameter.grad = gradient
