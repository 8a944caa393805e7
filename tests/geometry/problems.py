"""Explicit gradients, from which the tests of this room form products and read updates back."""

import torch
from hypothesis import strategies as st

from drpt.geometry.catalogue import SETS
from drpt.geometry.products import GeneralRows, Products
from drpt.geometry.projection import build_projection
from drpt.geometry.spec import ProjectionSpec

SEEDS = st.integers(0, 10_000)
STRENGTHS = st.floats(0.01, 1.0)
SHARES = st.sampled_from([0.01, 0.4, 0.5, 0.7, 1.0])
BLOCKS, DIM = 3, 7
DEFAULT = {"greedy_greats": 0.5, "cone": 0.1, "dual_cone": 0.1, "span": 0.1}


def projection(feasible_set, *, strength=None, score="alignment", relaxation=0.0, step_size=None, auto_memory=0.0):
    """A projection by its dials; a cone or dual cone without a strength is the plain one."""
    if feasible_set in {"cone", "dual_cone"} and strength is None:
        strength = 0.0
    spec = ProjectionSpec(
        set=feasible_set,
        score=score,
        strength=strength,
        relaxation=relaxation,
        step_size=step_size,
        auto_memory=auto_memory,
    )
    return build_projection(spec, seed=0)


def any_projection(name, strength=None, relaxation=0.0):
    """One of every set of the catalogue, by its name."""
    entry = SETS[name]
    if entry.strength is not None and strength is None:
        strength = DEFAULT.get(name, 0.5)
    return projection(name, strength=strength, relaxation=relaxation, step_size=0.1 if entry.takes_step_size else None)


class Problem:
    """Explicit gradients of n examples and a target in some blocks."""

    def __init__(self, seed, n=6):
        generator = torch.Generator().manual_seed(seed)
        self.general = torch.randn(BLOCKS, n, DIM, generator=generator, dtype=torch.float64)
        self.target = torch.randn(BLOCKS, DIM, generator=generator, dtype=torch.float64)
        weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
        self.weights = weights / weights.sum()
        self.ids = torch.arange(n) * 3 + 1

    def reordered(self, order):
        other = Problem.__new__(Problem)
        other.general, other.target = self.general[:, order], self.target
        other.weights, other.ids = self.weights[order], self.ids[order]
        return other

    def scaled(self, factor):
        other = self.reordered(torch.arange(len(self.ids)))
        other.general, other.target = factor * self.general, factor * self.target
        return other

    def doubled(self):
        """Every example twice with half its weight."""
        other = Problem.__new__(Problem)
        other.general, other.target = self.general.repeat_interleave(2, dim=1), self.target
        other.weights = self.weights.repeat_interleave(2) / 2
        other.ids = torch.arange(2 * len(self.ids))
        return other

    @property
    def rows(self):
        return GeneralRows(base_weights=self.weights, example_ids=self.ids, step_index=0)

    def products(self, dtype=torch.float64):
        return Products(
            alignment=torch.einsum("bnd,bd->bn", self.general, self.target).to(dtype),
            target_sq=self.target.square().sum(dim=1).to(dtype),
            gramian=torch.einsum("bnd,bmd->bnm", self.general, self.general).to(dtype),
        )

    def found(self, rule, dtype=torch.float64):
        """What a projection finds: coefficients and how well they solve the problem."""
        return rule.coefficients(self.rows, self.products(dtype), range(len(self.general)))

    def update(self, rule):
        found = self.found(rule)
        return torch.einsum("bn,bnd->bd", found.general, self.general) + found.target[:, None] * self.target

    def distance(self, rule):
        """From the update to the target gradient, in every block."""
        return (self.update(rule) - self.target).norm(dim=1)

    def every_block(self, reference):
        """What a reference finds, block by block."""
        return torch.stack([reference(g, v, self.weights) for g, v in zip(self.general, self.target, strict=True)])

    @property
    def mean(self):
        return torch.einsum("n,bnd->bd", self.weights, self.general)


def assert_same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def assert_close(a, b, tolerance=1e-7):
    """Solvers stop at a residual of 1e-9 of the problem's scale; a projection of a projection has it twice, and more."""
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def assert_small(values, tolerance=1e-7):
    assert values.abs().max() < tolerance
