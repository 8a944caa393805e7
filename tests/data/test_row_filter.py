"""Conditions on rows; the messages of bad ones are tested with the source of hub data."""

import math

from drpt.data.row_filter import RowFilter


def test_ranges_that_meet_at_a_bound_split_the_numbers():
    low, high = (RowFilter("filter", {"x": bounds}) for bounds in ({"max": 0.5}, {"min": 0.5}))
    for value in (-1, 0.0, 0.49, 0.5, 2):
        assert low.admits({"x": value}) != high.admits({"x": value})


def test_an_empty_cell_and_not_a_number_are_in_no_range():
    for bounds in ({"max": 0.5}, {"min": 0.5}):
        assert not any(RowFilter("filter", {"x": bounds}).admits({"x": value}) for value in (None, math.nan))


def test_all_conditions_must_hold():
    wanted = RowFilter("filter", {"x": {"min": 0}, "y": "a"})
    assert wanted.columns == ["x", "y"]
    assert [wanted.admits({"x": x, "y": y}) for x, y in ((0, "a"), (0, "b"), (-1, "a"))] == [True, False, False]
    assert RowFilter("filter", None).admits({"x": 1})
    assert wanted.refusal({"x": -1, "y": "a"}) == "'x' holds the number -1, and the filter asks for [0, inf)"
    assert wanted.refusal({"x": 0, "y": 5}) == "'y' holds the number 5, and the filter asks for a string 'a'"
