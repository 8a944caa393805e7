"""A quadratic program by hand: what its parts say of a point."""

import torch

from drpt.geometry.quadratic_program import QuadraticProgram
from tests.geometry.problems import assert_same


def program(cap):
    """``½ (c_1² + 4 c_2²) − c_1 − 2 c_2``, twice."""
    gramian = torch.tensor([[1.0, 0.0], [0.0, 4.0]], dtype=torch.float64).expand(2, 2, 2)
    linear = torch.tensor([[1.0, 2.0]], dtype=torch.float64).expand(2, 2)
    caps = None if cap is None else torch.tensor([cap], dtype=torch.float64).expand(2, 2)
    return QuadraticProgram(gramian=gramian, linear=linear, cap=caps)


def point(*values):
    return torch.tensor([values, values], dtype=torch.float64)


def test_a_cone():
    cone = program(None)
    assert not cone.sums_to_one
    assert_same(cone.own_sq, point(1.0, 4.0))
    assert_same(cone.slope(point(1.0, 1.0)), point(0.0, 2.0))
    assert cone.objective(point(1.0, 1.0)).tolist() == [-0.5, -0.5]
    assert_same(cone.project(point(-1.0, 2.0)), point(0.0, 2.0))
    assert_same(cone.steepest_corner(point(1.0, 1.0)), point(0.0, 0.0))
    assert cone.residual(point(1.0, 0.5)).tolist() == [0.0, 0.0]
    assert cone.residual(point(1.0, 0.0)).tolist() == [2.0, 2.0]
    assert cone.size.tolist() == [1.0, 1.0]  # v has at least this length along each gradient


def test_a_hull():
    hull = program((0.75, 0.75))
    assert hull.sums_to_one
    assert_same(hull.project(point(2.0, 0.0)), point(0.75, 0.25))
    assert_same(hull.steepest_corner(point(0.75, 0.25)), point(0.25, 0.75))  # slopes −¼ and −1: the second example first
    best = point(0.6, 0.4)  # slopes −0.4 and −0.4: no exchange gains
    assert float(hull.residual(best).max()) < 1e-12
    assert float(hull.residual(point(0.5, 0.5)).min()) > 0.05


def test_some_of_the_programs():
    for cap in (None, (0.75, 0.75)):
        one = program(cap).take(torch.tensor([1]))
        assert len(one.linear) == 1
        assert_same(one.project(point(2.0, 0.0)[:1]), program(cap).project(point(2.0, 0.0))[:1])
