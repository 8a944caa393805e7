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

from drpt.capture.checking.check import Check
from drpt.capture.collectives import AcrossProcesses, Collectives, SingleProcess
from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.layers.rules import DEFAULT_RULES, LayerRules
from drpt.capture.micro_batch import MicroBatch
from drpt.capture.options import CaptureOptions, ChoiceScope, Partition, ProductsMethod, RegularizedParameters
from drpt.capture.partition import partition_parameters
from drpt.capture.passes.request import StepRequest
from drpt.capture.passes.step import CaptureStep
from drpt.capture.passes.step_plan import StepPlan
from drpt.capture.products.computer import ProductComputer
from drpt.capture.products.cost import Need
from drpt.capture.products.sketch import Sketcher
from drpt.capture.products.sketch_spec import SketchKind
from drpt.capture.products.step_examples import StepExamples
from drpt.capture.regularizer import Regularizer
from drpt.capture.rows import StepRows
from drpt.capture.segments import Examples
from drpt.capture.sites import ModuleSite, captured_forwards, find_sites, refuse_compiled, trained_parameters
from drpt.capture.target import TargetGradient, target_gradient
from drpt.capture.trace import UNWATCHED, StepTrace

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
        layer_rules: Rules by type of module; ours unless others are added (``DEFAULT_RULES.extended({MyLayer: MyRule()})``).
        check: Whether to prove in the first step, and when the model's structure changes, that every example's gradient is
            formed as autograd forms it and stays apart from the others' (see `drpt.capture.checking.check`).

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
        layer_rules: LayerRules = DEFAULT_RULES,
        check: bool = True,
    ) -> None:
        _refuse_wrappers(model)
        self._model = model
        self.layer_rules = layer_rules
        self.regularizer = regularizer
        self.parameters = trained_parameters(model)
        if not self.parameters:
            raise ValueError("no parameter of the model requires gradients: nothing is trained.")
        owners = _owners(model, self.parameters)
        options = regularizer.options
        free = _matching(self.parameters, options.unregularized)
        if options.parameters is RegularizedParameters.LINEAR_WEIGHTS:
            scored = {name for name, (module, own) in owners.items() if own == "weight" and layer_rules.is_linear(module)}
            free = [name for name in self.parameters if name in free or name not in scored]
            if len(free) == len(self.parameters):
                raise ValueError(
                    "parameters='linear_weights': no linear layer is trained, so that nothing would be regularized."
                )
        blocks = partition_parameters([name for name in self.parameters if name not in free], options.partition)
        others = partition_parameters(free, Partition.LAYER)
        # Where one weighted loss gives the update, the model runs as it is.
        is_plain = regularizer.is_constant and (not free or not regularizer.needs_target)
        if is_plain and not leaves_update:
            raise ValueError("this regularizer's coefficients do not depend on gradients: there is nothing to choose.")
        self._sites = [] if is_plain else find_sites(model, layer_rules)
        is_sharded = _is_sharded(self.parameters)
        if is_sharded and not is_plain and options.partition is not Partition.LAYER:
            raise ValueError(
                f"partition={options.partition.value!r}: a model sharded by FSDP2 holds one layer's "
                "parameters at a time, so that blocks of several layers cannot be formed. Take partition=layer, or a "
                "whole model in every process."
            )
        self._collectives = _collectives()
        self._choosing: Collectives = self._collectives if options.choice_scope is ChoiceScope.STEP else SingleProcess()
        self._plan = StepPlan(
            regularizer=regularizer,
            blocks=(*blocks, *others),
            num_regularized=len(blocks),
            is_plain=is_plain,
            owners=owners,
            activation_budget_bytes=int(options.activation_budget_mib * _MIB),
            updates=self._collectives,
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
        micro_batches: Sequence[MicroBatch] | None = None,
        scale: float = 1.0,
        target: TargetGradient | None = None,
        trace: StepTrace = UNWATCHED,
    ) -> Iterator[CaptureStep]:
        """Open the capture for one optimizer step.

        A single micro-batch of one example a row needs ``rows`` alone; a padded or packed one says which example each token
        belongs to. With gradient accumulation ``micro_batches`` describes them all, in the order of their backward passes, and
        they share one choice of coefficients.

        Args:
            rows: General and target examples of the step, over all its micro-batches and processes.
            examples: Example of each row of this process's only micro-batch; all examples in order if left out.
            example_of_token: Example of each token of the only micro-batch [row, token], −1 for padding, instead of `examples`.
            micro_batches: Micro-batches of this process, instead of `examples` and `example_of_token`; as many in every
                process. Each of the step's examples belongs to one micro-batch of one process. None at all for `finish`.
            scale: Factor of the update.
            target: A target gradient computed beforehand (see `target_gradient`); the step then has no target examples.
            trace: Watcher that is told what the step does.

        Yields:
            The step; call its `backward` once for each micro-batch, or `finish` where there is none.

        Raises:
            ValueError: The regularizer needs a target gradient, and the step has neither target examples nor a given one; or a
                given one does not fit; or the micro-batches do not hold each example once; or other parameters, or those of
                other modules, are trained than when this was made.
            UnsupportedModuleError: The model has been compiled since.
            RuntimeError: Another step of this model is open, or this one was closed before its last backward pass.
        """
        self._require_same_parameters()
        refuse_compiled(self._model, [site.path for site in self._sites])
        self._check_examples(rows, target)
        if micro_batches is None:
            micro_batches = [_only_micro_batch(rows, examples, example_of_token)]
        elif examples is not None or example_of_token is not None:
            raise ValueError("micro_batches=… describes all micro-batches: leave examples=… and example_of_token=… out.")
        self._refresh_when_due(rows)
        self._check.next_step()
        request = StepRequest(
            plan=self._plan,
            computer=self._computer(rows, trace),
            rows=rows,
            layouts=tuple(micro_batch.layout() for micro_batch in micro_batches),
            scale=scale,
            target=target,
            trace=trace,
        )
        step = CaptureStep(request, self._check)
        try:
            with captured_forwards(self._sites, self.parameters, step.recorder):
                yield step
            step.require_end()
        finally:
            step.close()

    def target_gradient(self, backward: Callable[[], None]) -> TargetGradient:
        """A target gradient of whatever losses, for one or several steps.

        Args:
            backward: Runs ordinary backward passes outside any step; what they leave in ``.grad`` adds up, over processes too:
                the losses of each are its share of the mean over all processes' target examples.

        Returns:
            v, for `step`; ``.grad`` is as it was before.
        """
        return target_gradient(self.parameters, backward, self._collectives)

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

    def _refresh_when_due(self, rows: StepRows) -> None:
        refresh_steps = self.regularizer.options.sketch.refresh_steps
        if self._sketcher is not None and refresh_steps is not None:
            self._sketcher.refresh(rows.general.step_index // refresh_steps)

    def _computer(self, rows: StepRows, trace: StepTrace) -> ProductComputer:
        of_step = StepExamples(rows.num_general, rows.num_target, self._choosing)
        return ProductComputer(need_of(self.regularizer), self.regularizer.options.products, self._sketcher, of_step, trace)

    def _check_examples(self, rows: StepRows, target: TargetGradient | None) -> None:
        """Refuse a step that lacks what the regularizer needs."""
        if target is not None:
            self._check_target(target, rows)
        elif self.regularizer.needs_target and rows.num_target == 0:
            raise ValueError(
                "this regularizer needs the target gradient: give rows with num_target of at least 1, or a target "
                "gradient of your own (target=…)."
            )
        if self.regularizer.needs_spread and rows.num_target == 1:
            raise ValueError(
                "an automatic strength looks at the spread among target examples: give rows with num_target of at least 2."
            )

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
            era: Number of the set of matrices; the same number gives the same matrices.

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


def _only_micro_batch(rows: StepRows, examples: Examples | None, example_of_token: Tensor | None) -> MicroBatch:
    everyone = range(rows.num_examples) if examples is None and example_of_token is None else examples
    return MicroBatch(examples=everyone, example_of_token=example_of_token)


def _refuse_wrappers(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel | FullyShardedDataParallel):
            raise UnsupportedModuleError(
                f"{path or 'the model'} is wrapped in {type(module).__name__}, which would send gradients that the capture has "
                "taken the place of. Give the model inside it: the capture sums updates over processes by itself; for sharding "
                "take FSDP2 (torch.distributed.fsdp.fully_shard)."
            )


def _is_sharded(parameters: dict[str, nn.Parameter]) -> bool:
    whole = [name for name, parameter in parameters.items() if not isinstance(parameter, DTensor)]
    if whole and len(whole) < len(parameters):
        raise ValueError(
            f"FSDP2 shards other trained parameters and not {whole[0]}, whose update nobody would sum over processes: call "
            "fully_shard for the whole model, too, without ignored_params."
        )
    return not whole


def _collectives() -> Collectives:
    is_several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return AcrossProcesses() if is_several else SingleProcess()


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
