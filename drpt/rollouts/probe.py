"""Whether the engine computes what the trainer computes: log-probabilities of the same tokens, compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from drpt.rollouts.protocol import RolloutError

# Largest mean difference in nats, by the engine's dtype. In float32 the two agree to 3e-5 at most; one AdamW step with a
# learning rate of 1e-5 on all parameters of a 135M model moves the mean by 1e-2. In bfloat16 rounding alone makes 0.02 to 0.05.
BOUNDS = {"float32": 1e-3, "bfloat16": 0.15}


class StaleWeightsError(RolloutError):
    """The engine's log-probabilities are not those of the trainer's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Differences over some tokens, in nats."""

    mean: float  # of the absolute values
    max: float
    num_tokens: int

    def metrics(self) -> dict[str, float]:
        """Figures by ``quantity/statistic``."""
        return {"mismatch/mean": self.mean, "mismatch/max": self.max}


def measure_mismatch(engine: Sequence[Sequence[float]], trainer: Sequence[Sequence[float]]) -> Mismatch:
    """Compare log-probabilities of the same responses.

    Args:
        engine: Nats, one list a response.
        trainer: Likewise, of the same tokens.

    Returns:
        The differences; NaN counts as infinite.
    """
    differences = [
        abs(own - other) for row, others in zip(engine, trainer, strict=True) for own, other in zip(row, others, strict=True)
    ]
    clean = [difference if difference == difference else float("inf") for difference in differences]
    return Mismatch(mean=sum(clean) / len(clean), max=max(clean), num_tokens=len(clean))


def check_probe(mismatch: Mismatch, *, dtype: str, bound: float | None) -> None:
    """Stop where the differences are more than rounding.

    Args:
        mismatch: What was found.
        dtype: What the engine computes in.
        bound: Of the mean; None for the dtype's own, `BOUNDS`.

    Raises:
        StaleWeightsError: They are.
    """
    limit = BOUNDS[dtype] if bound is None else bound
    if not mismatch.mean <= limit:
        raise StaleWeightsError(
            f"the engine's log-probabilities differ from the trainer's by {mismatch.mean:.3g} nats on average (at most "
            f"{mismatch.max:.3g}, over {mismatch.num_tokens} tokens), and {limit:.3g} is what {dtype} may do: it answers with "
            "other weights than those that are trained, or computes the model otherwise. Try rollout=transformers; raise "
            "rollout.probe_bound only if the difference is known to be rounding."
        )
