"""Moments added to batch by batch are those of all numbers together."""

from statistics import fmean, stdev

import pytest

from drpt.rl.running_moments import RunningMoments


@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 0, 2), (40,), (3, 30, 7)])
def test_batches_add_up(sizes):
    numbers = [1e3 + (7 * i * i) % 11 / 3 for i in range(sum(sizes))]
    moments, start = RunningMoments(), 0
    for size in sizes:
        moments.add(numbers[start : start + size])
        start += size
    assert moments.count == len(numbers)
    assert moments.mean == pytest.approx(fmean(numbers), rel=1e-12)
    assert moments.std == pytest.approx(stdev(numbers), rel=1e-9)  # 1e3 beside 1 costs digits


def test_no_spread_divides_by_1():
    moments = RunningMoments()
    assert moments.std == 1.0
    moments.add([2.0])
    moments.add([2.0, 2.0])
    assert moments.std == 1.0


@pytest.mark.parametrize("value", [0.1, 0.3, -7.7, 1e10 / 3])
def test_equal_numbers_have_no_spread_but_rounding(value):
    """The mean of ten tenths is not a tenth: scores were divided by 1.5e-17."""
    moments = RunningMoments()
    for _ in range(3):
        moments.add([value] * 10)
    assert moments.std == 1
    moments.add([value * (1 + 1e-6)])
    assert 0 < moments.std < abs(value) * 1e-6
