"""The domain of a strength."""

from math import inf, nan

import pytest

from drpt.geometry.entry import MOST, Strength


def domain(low, high, is_low_included):
    return Strength(low=low, high=high, is_low_included=is_low_included, meaning="m", at_low="l", at_high="h")


@pytest.mark.parametrize(
    ("strength", "shown", "inside", "outside"),
    [
        (domain(0.0, 1.0, False), "(0, 1]", (1e-9, 1.0), (0.0, 1.1, -1.0, nan, inf)),
        (domain(0.0, 1.0, True), "[0, 1]", (0.0, 1.0), (-1e-9, 1.1, nan)),
        (domain(0.0, inf, True), "[0, 1e+06]", (0.0, MOST), (2 * MOST, inf, nan)),
    ],
)
def test_a_domain_admits_what_it_shows(strength, shown, inside, outside):
    assert str(strength) == shown
    assert all(strength.admits(value) for value in inside)
    assert not any(strength.admits(value) for value in outside)
