"""Every example's gradient, sketched: what the gramian over a whole pool is made of.

For a use with factors ``Σ_t left_t ⊗ right_t`` a row's sketch is ``Σ_t (left_t S) ⊗ (right_t R)`` with fixed random matrices S
and R of i.i.d. normal entries, scaled so that ``E S Sᵀ = I``: inner products of sketches are unbiased for those of gradients.
A side that is no wider than the sketch is left as it is, so that with ``width=None`` everything is exact.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from drpt.capture.checking.check import Check
from drpt.capture.gradients import FactoredGradient, UseGradient, accumulating
from drpt.capture.layers.rules import DEFAULT_RULES, LayerRules
from drpt.capture.products import sketched
from drpt.capture.products.sketch import Sketcher
from drpt.capture.products.sketch_spec import SketchKind
from drpt.capture.segments import Layout
from drpt.capture.sites import captured_forwards, find_sites, trained_parameters
from drpt.capture.tokens import RecentTokens


class GradientPool:
    """Collects sketched per-example gradients, batch after batch.

    Args:
        model: The parameters that require gradients are looked at; ``.grad`` is left alone.
        num_examples: Of the whole pool.
        width: Columns of each random matrix; None takes gradients as they are.
        seeds: Seeds of the random matrices, one a sketch: gramians of two sketches have independent errors.
        layer_rules: Rules by type of module.

    Raises:
        UnsupportedModuleError: A trained parameter belongs to a module without a rule.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        num_examples: int,
        width: int | None,
        seeds: Sequence[int],
        layer_rules: LayerRules = DEFAULT_RULES,
    ) -> None:
        self._num_examples = num_examples
        self.parameters = trained_parameters(model)
        self._sites = find_sites(model, layer_rules)
        self._check = Check()
        self._sketchers = [Sketcher(SketchKind.GAUSSIAN, left_width=width, right_width=width, seed=seed) for seed in seeds]
        self._kept: list[dict[tuple[str, int | None], Tensor]] = [{} for _ in seeds]

    def add(self, sample_losses: Callable[[], Float[Tensor, " batch"]], places: Int[Tensor, " batch"]) -> None:
        """One forward and one backward pass; the rows' gradients are kept.

        Args:
            sample_losses: Runs the model on a batch and returns one loss a row.
            places: Of the rows in the pool.
        """
        self._check.next_step()
        step = _PoolStep(self, places, self._check)
        try:
            with captured_forwards(self._sites, self.parameters, step):
                losses = sample_losses()
                if step.trial is not None:
                    step.trial.prove(losses, step.layout)
                losses.sum().backward()
        finally:
            step.recent.forget()  # activations, graph and step form a circle that Python's collector does not see

    def keep(self, name: str, use: UseGradient, places: Int[Tensor, " batch"]) -> None:
        """Sketch what one use of a parameter adds to the rows' gradients; nothing else of it stays.

        Args:
            name: Of the parameter.
            use: Reached by the backward pass.
            places: Of the rows in the pool.
        """
        for kept, sketcher in zip(self._kept, self._sketchers, strict=True):
            # Each parameter has matrices of its own, so that the errors of a sum over parameters average out.
            key: tuple[str, int | None] = (name, None)
            if isinstance(use, FactoredGradient):
                key = (name, use.place)
                sketch = sketched.example_sketches(
                    [use], len(places), sketcher, name if use.place is None else f"{name}[{use.place}]"
                ).cpu()
            else:
                sketch = use.segments.scatter(accumulating(use.grads)[..., None].flatten(1), len(places)).cpu()
            if key not in kept:
                kept[key] = sketch.new_zeros(self._num_examples, sketch.shape[1])
            kept[key][places] += sketch

    def gradients(self, sketch: int) -> dict[str, Float[Tensor, "example sketch"]]:
        """Sketches of all examples by parameter, in float32 or better; a parameter that no loss depends on is left out."""
        found: dict[str, list[Tensor]] = {}
        for (name, _), rows in sorted(self._kept[sketch].items(), key=lambda item: item[0][1] or 0):
            found.setdefault(name, []).append(rows)
        return {name: torch.cat(found[name], dim=1) for name in self.parameters if name in found}


class _PoolStep:
    """Hands on what the backward pass of one batch leaves, at once: activations need not wait for the end."""

    def __init__(self, pool: GradientPool, places: Int[Tensor, " batch"], check: Check) -> None:
        self.layout = Layout(range(len(places)))
        self.recent = RecentTokens()
        self.anchor = torch.zeros((), requires_grad=True)
        self.trial = check.trial(self.anchor)
        self._pool = pool
        self._places = places

    def announce(self, names: Sequence[str], num_bytes: int) -> None:
        """Nothing to wait for."""

    @torch.no_grad()
    def record(self, uses: Sequence[tuple[str, UseGradient]]) -> None:
        for name, use in uses:
            self._pool.keep(name, use, self._places)
