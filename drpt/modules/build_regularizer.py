"""From the `regularizer` config group to the object that a capture takes."""

from collections.abc import Sequence

from drpt.capture.options import BaseWeights, CaptureOptions, ChoiceScope, Partition, ProductsMethod, RegularizedParameters
from drpt.capture.products.sketch_spec import SketchSpec
from drpt.capture.regularizer import Regularizer
from drpt.geometry.projection import build_projection
from drpt.modules.regularizer_spec import RegularizerSpec


def build_regularizer(
    spec: RegularizerSpec,
    *,
    seed: int,
    sketch: SketchSpec | None = None,
    activation_budget_mib: float | None = None,
    unregularized: Sequence[str] = (),
) -> Regularizer:
    """The regularizer that a checked ``spec`` describes.

    Args:
        spec: The `regularizer` config group.
        seed: Seed of random scores.
        sketch: The random matrices of ``products=sketch``; those of `CaptureOptions` if left out.
        activation_budget_mib: MiB of activations that may be kept; that of `CaptureOptions` if left out.
        unregularized: Patterns of parameters that get the ordinary general gradient.

    Returns:
        The regularizer.

    Raises:
        ValueError: A dotted path leads to no `FeasibleSet` or `Score`.
    """
    given = {"sketch": sketch, "activation_budget_mib": activation_budget_mib}
    options = CaptureOptions(
        partition=Partition(spec.partition),
        products=ProductsMethod(spec.products),
        parameters=RegularizedParameters(spec.parameters),
        # Within the choice of a rollout phase, all its examples are looked at.
        choice_scope=ChoiceScope.STEP if spec.chooses_by_phase else ChoiceScope(spec.choice_scope),
        unregularized=tuple(unregularized),
    )
    regularizer = Regularizer.of(
        build_projection(spec.projection, seed=seed), options=options, base_weights=BaseWeights(spec.base_weights)
    )
    return regularizer.with_options(**{name: value for name, value in given.items() if value is not None})
