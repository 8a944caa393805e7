"""The penalty's coefficient, worked by hand."""

import pytest

from drpt.objectives.choices import KlControl
from drpt.objectives.kl_control import KlController


def test_a_fixed_coefficient_stays():
    controller = KlController(KlControl.FIXED, coefficient=0.1, target=1.0, horizon=1.0)
    controller.update(100.0, 1000)
    assert controller.coefficient == 0.1


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (6.0, 0.2),  # on target
        (6.6, 0.2 * (1 + 0.1 * 256 / 10_000)),  # a tenth above
        (600.0, 0.2 * (1 + 0.2 * 256 / 10_000)),  # the error is cut at a fifth
        (0.0, 0.2 * (1 - 0.2 * 256 / 10_000)),
        (-3.0, 0.2 * (1 - 0.2 * 256 / 10_000)),  # an estimate may be negative
    ],
)
def test_an_adaptive_one_goes_towards_its_target(kl, expected):
    controller = KlController(KlControl.ADAPTIVE, coefficient=0.2, target=6.0, horizon=10_000.0)
    controller.update(kl, 256)
    assert controller.coefficient == pytest.approx(expected, rel=1e-12)
