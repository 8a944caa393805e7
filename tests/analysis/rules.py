"""Regularizers by their dials, for draws that are no sequence of steps."""

from drpt.modules.build_regularizer import build_regularizer
from drpt.modules.regularizer_spec import RegularizerSpec


def regularizer(feasible_set, *, strength=None, score="alignment", relaxation=0.0, base_weights="example"):
    """A regularizer whose base weights are 1/n; a cone without a strength is the plain one."""
    if feasible_set in {"cone", "dual_cone"} and strength is None:
        strength = 0.0
    spec = RegularizerSpec(
        name="test",
        set=feasible_set,
        partition="layer",
        score=score,
        strength=strength,
        relaxation=relaxation,
        step_size=None,
        auto_memory=0.0,
        products="auto",
        base_weights=base_weights,
        parameters="all",
        choice_scope="step",
        stopping_share=0.0,
    )
    return build_regularizer(spec, seed=0)
