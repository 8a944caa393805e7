"""Every step's products and update, from the forward and backward passes that training takes anyway.

    with capture.step(rows) as step:
        step.backward(sample_losses(model(...), ...))
    optimizer.step()

During the step the forwards of modules that own trained parameters are replaced (see `drpt.capture.layers`). Each use leaves
its activations and output gradients; as soon as the backward pass has reached all uses of a parameter its products are
taken, and when all parameters of a block are measured, its coefficients are chosen, the update is added to ``.grad`` and the
activations are freed. Under the layer partition nothing outlives its own layer's backward by much; blocks of several layers
keep activations within a budget, and beyond it a second backward pass forms the update.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor

from drpt.capture.check import Check
from drpt.capture.cost import Need
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.exchange import AcrossProcesses, Alone, Exchange
from drpt.capture.layers.registry import is_linear
from drpt.capture.measure import Measure
from drpt.capture.methods.extent import Extent
from drpt.capture.options import CaptureOptions, Partition, Pool, ProductsMethod, Scope
from drpt.capture.partition import partition_parameters
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.capture.segments import Examples, Layout
from drpt.capture.sites import ModuleSite, captured_forwards, find_sites, refuse_compiled, trained_parameters
from drpt.capture.sketch import Sketcher
from drpt.capture.sketch_spec import SketchKind
from drpt.capture.step import CaptureStep
from drpt.capture.step_plan import StepPlan
from drpt.capture.target import TargetGradient, target_gradient

_MIB = 2**20


class GradientCapture:
    """Gives a model's trained parameters the update of a regularizer instead of their gradient.

    Where `torch.distributed` runs with several processes, the choice is made over the examples of all of them, and every
    process is left with the same update: no wrapper (DDP) may be around the model, and the processes must have met before
    this object is made. A model sharded by FSDP2 works with the layer partition.

    Args:
        model: Any module; the parameters that require gradients now are the trained ones.
        regularizer: What decides the update, and the options of the capture (`Regularizer.with_options` changes them).
        leaves_update: False to choose coefficients alone, leaving ``.grad`` as it is.
        check: Whether to prove in the first step, and when the model's structure changes, that every example's gradient is
            formed as autograd forms it and stays apart from the others' (see `drpt.capture.check`).

    Raises:
        UnsupportedModuleError: A trained parameter belongs to a module without a rule.
        ValueError: A pattern matches nothing, a sharded model has another partition than layers, or
            nothing but the update is asked of this regularizer; nothing is trained.
        RuntimeError: A step of the model is open.
    """

    def __init__(
        self,
        model: nn.Module,
        regularizer: Regularizer,
        *,
        leaves_update: bool = True,
        check: bool = True,
    ) -> None:
        _refuse_wrappers(model)
        self._model = model
        self.regularizer = regularizer
        self.parameters = trained_parameters(model)
        if not self.parameters:
            raise ValueError("no parameter of the model requires gradients: nothing is trained.")
        owners = _owners(model, self.parameters)
        options = regularizer.options
        free = _matching(self.parameters, options.unregularized)
        if options.scope is Scope.PAPER:
            scored = {name for name, (module, own) in owners.items() if own == "weight" and is_linear(module)}
            free = [name for name in self.parameters if name in free or name not in scored]
            if len(free) == len(self.parameters):
                raise ValueError("scope='paper': no linear layer is trained, so that nothing would be regularized.")
        blocks = partition_parameters([name for name in self.parameters if name not in free], options.partition)
        others = partition_parameters(free, Partition.LAYER)
        # Where one weighted loss gives the update, the model runs as it is.
        is_plain = regularizer.is_constant and (not free or not regularizer.needs_target)
        if is_plain and not leaves_update:
            raise ValueError("this regularizer's coefficients do not depend on gradients: there is nothing to choose.")
        self._sites = [] if is_plain else find_sites(model)
        whole = [name for name, parameter in self.parameters.items() if not isinstance(parameter, DTensor)]
        is_sharded = len(whole) < len(self.parameters)
        if is_sharded and whole:
            raise ValueError(
                f"FSDP2 shards other trained parameters and not {whole[0]}, whose update nobody would sum over processes: call "
                "fully_shard for the whole model, too, without ignored_params."
            )
        if is_sharded and not is_plain and options.partition is not Partition.LAYER:
            raise ValueError(
                f"partition={options.partition.value!r}: a model sharded by FSDP2 holds one layer's "
                "parameters at a time, so that blocks of several layers cannot be formed. Take partition=layer, or a "
                "whole model in every process."
            )
        self._exchange = _exchange()
        self._pool: Exchange = self._exchange if options.pool is Pool.STEP else Alone()
        self._plan = StepPlan(
            regularizer=regularizer,
            blocks=(*blocks, *others),
            num_regularized=len(blocks),
            is_plain=is_plain,
            owners=owners,
            retain_bytes=int(options.retain_mib * _MIB),
            updates=self._exchange,
            is_sharded=is_sharded,
            leaves_update=leaves_update,
        )
        self._check = Check(is_wanted=check and bool(self._sites))
        self._sketcher = _sketcher(options)

    @contextmanager
    def step(
        self,
        rows: StepRows,
        *,
        examples: Examples | None = None,
        example_of_token: Int[Tensor, "row token"] | None = None,
        num_parts: int = 1,
        scale: float = 1.0,
        target: TargetGradient | None = None,
    ) -> Iterator[CaptureStep]:
        """Open the capture for one optimizer step.

        One batch of one example a row needs ``rows`` alone. Padded and packed batches say which example each token belongs
        to; of several batches (gradient accumulation) each is announced by `CaptureStep.part`, and they share one choice.

        Args:
            rows: The step's general and target examples, over all its batches and processes.
            examples: Of the rows of this process's first batch; all of them if left out. Each of the step's examples belongs to
                one batch of one process.
            example_of_token: Instead, the example of each token, −1 for padding.
            num_parts: Batches of the step, the same number in all processes.
            scale: What the update is multiplied by.
            target: A target gradient that is given (see `target_gradient`); the step then has no target examples.

        Yields:
            The step; call its `backward` once a batch, or `finish` where there is none.

        Raises:
            ValueError: The regularizer needs a target gradient, and the step has neither target examples nor a given one; or a
                given one does not fit; or other parameters, or those of other modules, are trained than when this was made.
            UnsupportedModuleError: The model has been compiled since.
            RuntimeError: Another step of this model is open, or this one was closed before its last batch's backward pass.
        """
        regularizer = self.regularizer
        self._require_same_parameters()
        refuse_compiled(self._model, [site.path for site in self._sites])
        if target is not None:
            self._check_target(target, rows)
        elif regularizer.needs_products and rows.num_target == 0:
            raise ValueError(
                "this regularizer compares with the target gradient: give rows with num_target of at least 1, or a target "
                "gradient of your own (target=…)."
            )
        if regularizer.needs_spread and rows.num_target == 1:
            raise ValueError(
                "an automatic strength looks at the spread among target examples: give rows with num_target of at least 2."
            )
        refresh_steps = regularizer.options.sketch.refresh_steps
        if self._sketcher is not None and refresh_steps is not None:
            self._sketcher.refresh(rows.general.draw // refresh_steps)
        self._check.next_step()
        everyone = range(rows.num_examples)
        layout = Layout(everyone if examples is None else examples, example_of_token)
        extent = Extent(rows.num_general, rows.num_target, self._pool)
        measure = Measure(need_of(regularizer), regularizer.options.products, self._sketcher, extent)
        step = CaptureStep(
            self._plan, measure, rows, layout, num_parts=num_parts, scale=scale, target=target, check=self._check
        )
        try:
            with captured_forwards(self._sites, self.parameters, step):
                yield step
            step.require_end()
        finally:
            step.forget()

    def target_gradient(self, backward: Callable[[], None]) -> TargetGradient:
        """A target gradient of whatever losses, for one or several steps.

        Args:
            backward: Runs ordinary backward passes outside any step; what they leave in ``.grad`` adds up, over processes too:
                the losses of each are its share of the mean over all processes' target examples.

        Returns:
            v, for `step`; ``.grad`` is as it was before.
        """
        return target_gradient(self.parameters, backward, self._exchange)

    def _require_same_parameters(self) -> None:
        now = trained_parameters(self._model).keys()
        for names, change in ((now - self.parameters.keys(), "is"), (self.parameters.keys() - now, "is not")):
            if names:
                more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
                raise ValueError(
                    f"{min(names)}{more} {change} trained now, unlike when the capture was made: make another GradientCapture "
                    "after freezing, unfreezing, adding or removing parameters."
                )
        owners = _owners(self._model, self.parameters)
        for name, (module, _) in self._plan.owners.items():
            if owners[name][0] is not module:
                raise ValueError(f"{name} is another module's than when the capture was made: make another GradientCapture.")

    def _check_target(self, target: TargetGradient, rows: StepRows) -> None:
        target.check(self.parameters)
        if rows.num_target:
            raise ValueError(f"target: the step has {rows.num_target} target examples, too; give rows of num_target=0.")
        if self.regularizer.needs_spread:
            raise ValueError(
                "target: an automatic strength looks at the spread among a step's target examples, and a target gradient that "
                "is given comes as one. Give a number, or target examples in the batch."
            )
        if self._plan.is_sharded:
            raise ValueError("target: a model sharded by FSDP2 takes its target gradient from examples in the batch.")

    @property
    def plan(self) -> StepPlan:
        """What does not change from step to step."""
        return self._plan

    @property
    def sketch_era(self) -> int:
        """Which random matrices are in use; 0 without sketches."""
        return 0 if self._sketcher is None else self._sketcher.era

    @property
    def sites(self) -> Sequence[ModuleSite]:
        """Modules whose forwards are replaced during a step; none where one weighted loss gives the update."""
        return self._sites

    @property
    def unregularized(self) -> tuple[str, ...]:
        """Trained parameters that get the ordinary general gradient."""
        return tuple(name for block in self._plan.blocks[self._plan.num_regularized :] for name in block.parameters)

    def refresh_sketches(self, era: int) -> None:
        """Go over to other random matrices, those of ``era``; 0 are the first.

        Args:
            era: Names them; the same whenever it comes round.

        Raises:
            ValueError: This capture uses none.
        """
        if self._sketcher is None:
            raise ValueError("the regularizer's products are not 'sketch': there is nothing to refresh.")
        self._sketcher.refresh(era)


def need_of(regularizer: Regularizer) -> Need:
    """Which products the regularizer asks for, if any."""
    if regularizer.needs_spread:
        return Need.JOINT
    return Need.GRAMIAN if regularizer.needs_gramian else Need.ALIGNMENT


def _refuse_wrappers(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel | FullyShardedDataParallel):
            raise UnsupportedModuleError(
                f"{path or 'the model'} is wrapped in {type(module).__name__}, which would send gradients that the capture has "
                "taken the place of. Give the model inside it: the capture sums updates over processes by itself; for sharding "
                "take FSDP2 (torch.distributed.fsdp.fully_shard)."
            )


def _exchange() -> Exchange:
    is_several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return AcrossProcesses() if is_several else Alone()


def _matching(names: Sequence[str] | dict[str, nn.Parameter], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"unregularized={pattern!r} matches no trained parameter; they are named like {next(iter(names))}."
            )
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _owners(model: nn.Module, parameters: dict[str, nn.Parameter]) -> dict[str, tuple[nn.Module, str]]:
    modules = dict(model.named_modules())
    owners = {}
    for name in parameters:
        path, _, own = name.rpartition(".")
        owners[name] = (modules[path], own)
    return owners


def _sketcher(options: CaptureOptions) -> Sketcher | None:
    if options.products is not ProductsMethod.SKETCH:
        return None
    spec = options.sketch
    return Sketcher(SketchKind(spec.kind), left_width=spec.left_width, right_width=spec.right_width, seed=spec.seed)
