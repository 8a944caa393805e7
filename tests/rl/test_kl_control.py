"""The penalty's coefficient, worked by hand."""

import pytest

from drpt.rl.choices import KlControl
from drpt.rl.kl_control import KlController, horizon_that_doubles, largest_change


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


def test_the_most_that_a_run_can_change():
    # 1 + 0.2 · 64 / 10,000 = 1.00128 a phase; of five phases four are followed by another.
    assert largest_change(num_responses=64, num_phases=5, horizon=10_000.0) == pytest.approx(1.00128**4, rel=1e-12)
    assert largest_change(num_responses=64, num_phases=1, horizon=1.0) == 1.0


@pytest.mark.parametrize("num_phases", [2, 5, 100])
def test_the_horizon_that_doubles_is_what_the_controller_needs(num_phases):
    horizon = horizon_that_doubles(num_responses=64, num_phases=num_phases)
    assert largest_change(num_responses=64, num_phases=num_phases, horizon=horizon) == pytest.approx(2.0, rel=1e-9)
    controller = KlController(KlControl.ADAPTIVE, coefficient=0.3, target=6.0, horizon=horizon)
    for _ in range(num_phases - 1):
        controller.update(1e9, 64)
    assert controller.coefficient == pytest.approx(0.6, rel=1e-9)


def test_one_phase_has_no_such_horizon():
    with pytest.raises(ValueError, match=r"num_phases=1: .*at least 2"):
        horizon_that_doubles(num_responses=64, num_phases=1)
