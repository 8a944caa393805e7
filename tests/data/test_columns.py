"""Paths into rows with structs."""

from datetime import date, timedelta

import pytest

from drpt.data.columns import cell, column_paths, columns_in, fill, fill_field
from drpt.data.record import RecordError

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


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (b"a", "choose a column of texts"),
        (timedelta(1), "choose a column of texts"),
        (float("nan"), "choose a column of texts"),
        ([b"a"], r"name an item, \{c\[0\]\}"),
        ([date(2024, 1, 2)], r"name an item, \{c\[0\]\}"),
        ({"d": date(2024, 1, 2)}, r"name a field, \{c\.d\}"),
        (["a"], r"name an item, \{c\[0\]\}, or write it as JSON, \{c:json\}"),
        ({"d": 1}, r"name a field, \{c\.d\}, or write it as JSON, \{c:json\}"),
        ([], r"write it as JSON, \{c:json\}"),
    ],
)
def test_what_is_no_text_is_refused_with_ways_that_work(value, advice):
    with pytest.raises(RecordError, match=rf"column 'c' contains .*, which is not text: {advice}\.$"):
        fill("{c}", {"c": value})


@pytest.mark.parametrize("value", [b"a", timedelta(1)])
@pytest.mark.parametrize("template", ["c", "{c}", "{c!r}"])
def test_json_is_not_advised_where_it_cannot_write(value, template):
    with pytest.raises(RecordError, match=r"choose a column of texts\.$") as error:
        fill_field("response", template, {"c": value})
    assert "json" not in str(error.value)
