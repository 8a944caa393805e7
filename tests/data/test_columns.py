"""Paths into rows with structs."""

import pytest

from drpt.data.columns import cell, column_paths, columns_in, fill

ROW = {"a": {"b": 1, "c": {"d": None}}, "e.f": "dots", "e.g": {"h": 2}, "i": None, "text": "{a.b}"}


def test_paths_go_down_into_structs():
    assert column_paths({"a": {"b": "int", "c": {"d": "int"}}, "e": ["list"]}) == ["a", "a.b", "a.c", "a.c.d", "e"]


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", ROW["a"]), ("a.b", 1), ("a.c.d", None), ("e.f", "dots"), ("e.g.h", 2), ("i.anything.below", None)],
)
def test_cells_are_found_by_path(path, value):
    assert cell(ROW, path) == value


def test_templates_take_texts_at_paths():
    assert columns_in("{a.b:03d} of {e.f}, {{not}} {i}") == ["a.b", "e.f", "i"]
    assert fill("{a.b:03d} of {e.f}, {{not}} {i}.", ROW) == "001 of dots, {not} ."
    assert fill("{text}", ROW) == "{a.b}"  # a cell is no template
    assert fill("a.b", ROW) == 1
