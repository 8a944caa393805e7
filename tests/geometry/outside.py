"""A set and a score from outside the package: worked examples of what a class says of itself."""

# --8<-- [start:set]
import torch

from drpt.geometry.entry import Curve, ScoreEntry, SetEntry, Strength
from drpt.geometry.feasible_set import FeasibleSet
from drpt.geometry.products import Coefficients, gramian_and_alignment
from drpt.geometry.score import Score


class MeanRay(FeasibleSet):
    """``F = {t ḡ : 0 ≤ t ≤ 1/λ}``: the general mean, as far as the target gradient follows it."""

    needs_products = True
    needs_gramian = True
    uses_target = False
    entry = SetEntry(
        formula="{t ḡ : 0 ≤ t ≤ 1/λ}",
        update="the multiple of the general mean that is closest to v",
        source="a worked example",
        relatives="lies within `cone`",
        strength=Strength(
            low=0.0,
            high=1.0,
            is_low_included=False,
            meaning="the longest multiple is 1/λ",
            at_low="the whole ray",
            at_high="at most the mean itself",
        ),
        auto_grid=(0.25, 0.5, 1.0),
        curves=(Curve("mean_ray", "#336699", (0.25, 0.5, 1.0), has_auto=True),),
    )

    def __init__(self, strength):
        self.strength = strength

    def project(self, rows, products, scores, num_blocks):
        gramian, alignment = gramian_and_alignment(products)
        weights = rows.weights(num_blocks)
        omega = weights.to(gramian)
        square = torch.einsum("bij,bi,bj->b", gramian, omega, omega)
        inner = (omega * alignment).sum(dim=1)
        multiple = torch.where(square > 0, inner / square, 0.0).clamp(min=0.0, max=1.0 / self.strength)
        return Coefficients(general=(multiple[:, None] * omega).to(weights), target=weights.new_zeros(num_blocks))


# --8<-- [end:set]


# --8<-- [start:score]
class EarliestScore(Score):
    """Examples with lower ids first, as in a curriculum."""

    entry = ScoreEntry(meaning="minus the example's id: a curriculum")

    def __call__(self, rows, products, blocks):
        return -rows.example_ids.double().expand(len(blocks), -1)


# --8<-- [end:score]


class SeededScore(EarliestScore):
    """A score that draws numbers is given the run's seed."""

    def __init__(self, seed):
        self.seed = seed


class Unsaid(FeasibleSet):
    """Uses no general example, and its entry does not say so."""

    uses_general = False
    entry = SetEntry(formula="F", update="u", source="nowhere")

    def project(self, rows, products, scores, num_blocks):
        raise NotImplementedError


class Contradicting(FeasibleSet):
    """Says of itself that it ranks examples, and does not."""

    entry = SetEntry(formula="F", update="u", source="nowhere", takes_score=True)

    def project(self, rows, products, scores, num_blocks):
        raise NotImplementedError
