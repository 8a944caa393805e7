"""Whether the choice of examples can be trusted in bfloat16: a step's products once more in float32, and compared.

    with meter.exact() as (twin, capture), capture.step(rows) as step:
        step.backward(sample_losses(twin(...), ...))
    exact = step.report()
    ...                                     # the step itself, before or after, with the same weights
    meter.compare([rows], [report], [exact])

Scores are differences of large sums, and activations in bfloat16 have two to three digits: where the examples' alignments
lie closer together than that, their order is that of rounding errors. Under autocast the weights are rounded too, and updates
smaller than half of a weight's last place in bfloat16 have not happened yet for the scores: early in full fine-tuning of a
model that was stored in bfloat16 this is most of the disagreement, and it is no noise, but a model of some steps ago.

The same batch meets the same dropout where masks do not depend on the activations' dtype, as on a CPU. CUDA does not promise
that; where its masks differ, the difference counts as disagreement. Sketches are those of the step, but for the rounding of
their matrices.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from drpt.capture.capture import GradientCapture
from drpt.capture.gradients import accumulating
from drpt.capture.layers.rules import DEFAULT_RULES, LayerRules
from drpt.capture.options import Partition, ProductsMethod
from drpt.capture.passes.report import StepReport
from drpt.capture.precision.agreement import BlockScores, ScoreAgreement, agreement
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows

_log = logging.getLogger(__name__)

# Below this mean rank correlation a warning is logged. One swap of neighbours among six examples is 0.94; a top half chosen by
# Gaussian scores that correlate to 0.9 with the exact ones differs in one place of seven.
TRUSTED_RANK_AGREEMENT = 0.9


class ScoreMeter:
    """Compares a step's scores and choice with those of float32, leaving gradients, parameters and random state alone.

    It takes one forward and one backward pass in float32 and, while it runs, the memory of float32 activations; bfloat16
    weights are copied to float32 for that time (4 bytes a parameter), float32 ones are shared. No update is formed.

    Args:
        model: Any module that is not sharded; see `GradientCapture`.
        regularizer: Rule that looks at products.
        layer_rules: Rules by type of module.

    Raises:
        ValueError: The regularizer does not look at products, or the model is sharded.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        *,
        layer_rules: LayerRules = DEFAULT_RULES,
    ) -> None:
        if not regularizer.needs_products:
            raise ValueError("this regularizer's choice does not depend on gradients: it has no scores to compare.")
        if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
            raise ValueError("a model sharded by FSDP2 cannot be copied to float32: leave the comparison of scores off.")
        self._model = model
        self._regularizer = regularizer
        self._layer_rules = layer_rules
        self._has_warned = False

    @contextmanager
    def exact(self, *, sketch_era: int = 0) -> Iterator[tuple[nn.Module, GradientCapture]]:
        """A float32 twin of the model with the weights of now, and a capture that chooses and leaves no update.

        Inside, autocast is off and torch's default dtype is float32. Random numbers go on from the present state, which is
        put back in the end; what the regularizer remembers of past steps is a copy.

        Args:
            sketch_era: Era of the sketches of the capture whose steps are compared; see `GradientCapture.refresh_sketches`.

        Yields:
            The twin and its capture.
        """
        twin = float32_twin(self._model)
        capture = GradientCapture(
            twin,
            copy.deepcopy(self._regularizer),
            leaves_update=False,
            layer_rules=self._layer_rules,
            check=False,  # the model itself is checked in its own step
        )
        if sketch_era:
            capture.refresh_sketches(sketch_era)
        device = next(iter(capture.parameters.values())).device
        dtype = torch.get_default_dtype()
        devices = [device] if device.type == "cuda" else []
        try:
            torch.set_default_dtype(torch.float32)
            with torch.random.fork_rng(devices=devices), torch.autocast(device.type, enabled=False):
                yield twin, capture
        finally:
            torch.set_default_dtype(dtype)

    def compare(self, rows: Sequence[StepRows], rough: Sequence[StepReport], exact: Sequence[StepReport]) -> ScoreAgreement:
        """Compare a step with the same one in float32; the first time that little agrees, say so in the log.

        Args:
            rows: Examples of each choice that the step made.
            rough: Reports of the choices in the precision of training.
            exact: Reports of the same choices in float32.

        Returns:
            The agreement over all choices and blocks.
        """
        found = agreement([block for choice in zip(rows, rough, exact, strict=True) for block in _blocks(*choice)])
        if not self._has_warned and found.mean_rank is not None and found.mean_rank < TRUSTED_RANK_AGREEMENT:
            self._has_warned = True
            _log.warning(
                "scores in bfloat16 order the examples otherwise than float32 does: rank correlation %.2f on average, %.2f "
                "in %s, where 1 is the same order and 0 none; %.0f%% of the choices agree. What is chosen depends on "
                "rounding. %s",
                found.mean_rank,
                found.min_rank,
                found.worst_block,
                100 * (found.choice or 0.0),
                self._remedies(),
            )
        return found

    def _remedies(self) -> str:
        finest = [] if self._regularizer.options.partition is Partition.GLOBAL else ["a coarser regularizer.partition"]
        sketched = ["exact products (regularizer.products=auto)"] * (
            self._regularizer.options.products is ProductsMethod.SKETCH
        )
        other = ["more target examples a step (data.target_rows)", *finest, *sketched]
        return f"Take trainer.precision=32-true, or bf16-mixed rather than bf16-true; {', '.join(other)} may help too."


def float32_twin(model: nn.Module) -> nn.Module:
    """A copy in float32 that shares what is in float32 (or better) already, and has no gradients.

    Args:
        model: Any module.

    Returns:
        The copy; ties are kept, buffers are its own.
    """
    known: dict[int, Tensor] = {}
    for parameter in model.parameters():
        values = accumulating(parameter.detach())
        known[id(parameter)] = nn.Parameter(values, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        known[id(buffer)] = accumulating(buffer.detach()).clone()
    twin: nn.Module = copy.deepcopy(model, known)  # what it knows by id it takes as the copy
    return twin


def _blocks(rows: StepRows, rough: StepReport, exact: StepReport) -> list[BlockScores]:
    """What one choice and its twin found in the blocks that both have."""
    exact_blocks = dict(exact.blocks)
    blocks = []
    for name, report in rough.blocks:
        twin = exact_blocks.get(name)
        if twin is None or report.products is None or twin.products is None:
            continue
        weights = rows.general.weights(1)[0].double().cpu()
        blocks.append(
            BlockScores(
                name=name,
                scores=weights * _row(report.products.alignment),
                exact_scores=weights * _row(twin.products.alignment),
                coefficients=_row(report.coefficients.general),
                exact_coefficients=_row(twin.coefficients.general),
            )
        )
    return blocks


def _row(of_block: Tensor) -> Tensor:
    return of_block[0].double().cpu()
