"""Layouts of packed rows, as numbers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpt.data.packing import fullest_row, share_rows


@st.composite
def lengths_and_limit(draw):
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=14))
    return lengths, draw(st.integers(max(lengths), 90))


def area(layout, lengths):
    return len(layout) * fullest_row(layout, lengths)


@given(lengths_and_limit())
def test_every_example_has_one_row_and_no_row_is_too_long(drawn):
    lengths, limit = drawn
    layout = share_rows(lengths, max_length=limit)
    assert sorted(example for row in layout for example in row) == list(range(len(lengths)))
    assert all(layout)
    assert fullest_row(layout, lengths) <= limit
    assert layout == sorted(sorted(row) for row in layout)


@given(lengths_and_limit())
def test_never_more_padding_than_one_example_a_row(drawn):
    lengths, limit = drawn
    assert area(share_rows(lengths, max_length=limit), lengths) <= len(lengths) * max(lengths)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 24))
def test_area_is_close_to_the_smallest_there_is(lengths, spare):
    """Against every way to share rows; 22/18 is what best-fit-decreasing may lose in width, and is rarely lost."""

    def layouts(rows, example):
        if example == len(lengths):
            yield rows
            return
        for place in range(len(rows)):
            yield from layouts([*rows[:place], [*rows[place], example], *rows[place + 1 :]], example + 1)
        yield from layouts([*rows, [example]], example + 1)

    limit = max(lengths) + spare
    smallest = min(area(rows, lengths) for rows in layouts([], 0) if fullest_row(rows, lengths) <= limit)
    assert area(share_rows(lengths, max_length=limit), lengths) <= smallest * 22 / 18


def test_examples_that_fill_rows_leave_no_padding():
    assert share_rows([5, 3, 4, 2, 1, 6], max_length=7) == [[0, 3], [1, 2], [4, 5]]


def test_of_equal_areas_the_narrow_rows_are_taken():
    """Four of five tokens are an area of 20 in one, two or four rows."""
    assert share_rows([5, 5, 5, 5], max_length=100) == [[0], [1], [2], [3]]


def test_an_example_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match=r"an example of 9 tokens does not fit into rows of data\.max_length=8"):
        share_rows([3, 9], max_length=8)
