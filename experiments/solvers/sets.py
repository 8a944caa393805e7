"""The sets whose projection needs a solver, each with and without its ridge or margin if it has one."""

from drpt.geometry.projection import Projection, build_projection
from drpt.geometry.spec import ProjectionSpec

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


def rule_of(name: str) -> Projection:
    """The projection onto one of `SOLVING`."""
    feasible_set = name.split()[-1] if name.startswith("ridged") else name.split()[0]
    spec = ProjectionSpec(
        set=feasible_set,
        score="alignment",
        strength=SOLVING[name],
        relaxation=0.0,
        step_size=None,
        auto_memory=0.0,
    )
    return build_projection(spec, seed=0)
