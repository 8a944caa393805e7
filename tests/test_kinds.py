"""Kinds of values: what annotations admit, and how it is said."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from drpt.kinds import check_kind, item_kind, kind_of, kinds_of_arguments, shown_value, takes_text, value_kind


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "words"),
    [
        (int, [0, -3], [1.0, True, "1", None, [1]], "a whole number"),
        (float, [0.5, 2], ["a", True, None], "a number"),
        (bool, [True], [1, "yes", None], "true or false"),
        (str | None, ["", None], [1, True, ["a"]], "a text or null"),
        (list[int], [[], [1, 2]], [[1.5], 1, "1"], "a list of whole numbers, such as [1,2]"),
        (Sequence[str] | None, [["a"], None], [["a", 1], "a"], "a list of texts, such as [one,two] or null"),
        (Mapping[str, Any], [{}, {"a": [1]}], [[], "a", None], "a mapping, {key: value}"),
        (dict[str, dict[str, int]], [{"a": {"b": 1}}], [{"a": {"b": "c"}}, {"a": 1}], "a mapping, {key: value}"),
        (str | int, ["a", 1], [1.5, None], "a text or a whole number"),
    ],
)
def test_annotations_admit_what_they_say(annotation, good, bad, words):
    kind = kind_of(annotation)
    assert kind.words == words
    assert all(kind.admits(value) for value in good)
    assert not any(kind.admits(value) for value in bad)


def test_nothing_is_said_against_kinds_that_no_configuration_can_hold():
    for annotation in (Any, object, complex, int | complex):
        assert kind_of(annotation).admits(object())


def test_parts_of_kinds():
    assert takes_text(kind_of(str | None))
    assert takes_text(kind_of(str | list[str]))
    assert not takes_text(kind_of(str | int))
    assert item_kind(kind_of(list[str] | None)) == kind_of(str)
    assert item_kind(kind_of(str)) is None
    assert value_kind(kind_of(dict[str, int])) == kind_of(int)
    assert value_kind(kind_of(list[int])) is None


def test_faults_name_option_value_and_kinds():
    with pytest.raises(ValueError, match=r"^data\.x=\[1,null,'a'\] must be a whole number\.$"):
        check_kind("data.x", [1, None, "a"], kind_of(int))
    assert shown_value({"a": [True, 0.5]}) == "{a:[true,0.5]}"


def test_arguments_of_a_class():
    class Good:
        def __init__(self, *, path: str, count: int | None = None, other=3):
            pass

    class Bad:
        def __init__(self, path: "NoSuchName"):  # noqa: F821
            pass

    assert kinds_of_arguments(Good) == {"path": kind_of(str), "count": kind_of(int | None)}
    assert kinds_of_arguments(Bad) == {}
