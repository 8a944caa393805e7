"""The sets whose projection needs a solver, each with and without its ridge or margin if it has one."""

from drpt.geometry.regularizer import Regularizer, build_regularizer
from drpt.geometry.spec import RegularizerSpec

SOLVING: dict[str, float | None] = {
    "hull": 0.25,
    "cone": 0.0,
    "ridged cone": 0.1,
    "span": 0.0,
    "ridged span": 0.1,
    "top_span": 0.5,
    "dual_cone": 0.0,
    "dual_cone with a margin": 0.1,
    "halfspace": None,
    "mgda": None,
    "cagrad": 0.5,
    "gradmatch": 0.5,
}


def rule_of(name: str) -> Regularizer:
    """The regularizer of one of `SOLVING`."""
    feasible_set = name.split()[-1] if name.startswith("ridged") else name.split()[0]
    spec = RegularizerSpec(
        name="solver",
        set=feasible_set,
        partition="layer",
        score="alignment",
        strength=SOLVING[name],
        relaxation=0.0,
        step_size=None,
        auto_memory=0.0,
        products="auto",
        base_weights="example",
        scope="all",
        pool="step",
        stopping_share=0.0,
    )
    return build_regularizer(spec, seed=0)
