"""Checksums of examples: the same as ever for plain turns, and another one for all that a template or training makes use of."""

from dataclasses import replace

import pytest

from drpt.data.example import Example, Message, ToolCall
from drpt.data.fingerprint import example_line

USER, ANSWER = Message(role="user", content="Hi"), Message(role="assistant", content="Hello")
PLAIN = Example(messages=(USER, ANSWER), source="a")


def test_of_plain_turns_roles_and_contents_alone_count():
    assert example_line("general", PLAIN) == b'["general", [["user", "Hi"], ["assistant", "Hello"]]]'
    assert example_line("general", replace(PLAIN, source="b")) == example_line("general", PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, tools=({"type": "function"},)),
        replace(PLAIN, is_plain_text=True),
        *(
            replace(PLAIN, messages=(USER, replace(ANSWER, **change)))
            for change in (
                {"is_learned": False},
                {"reasoning_content": "A greeting."},
                {"reasoning_content": ""},
                {"tool_calls": (ToolCall(name="add", arguments="{}"),)},
                {"tool_calls": (ToolCall(name="add", arguments='{"a": 1}'),)},
                {"name": "b"},
                {"tool_call_id": "1"},
            )
        ),
    ],
)
def test_whatever_else_changes_what_is_learned_changes_the_checksum(other):
    assert example_line("general", other) != example_line("general", PLAIN)


def test_arguments_reach_templates_as_a_mapping_and_what_is_none_as_it_is():
    call = ToolCall(name="add", arguments='{"b": 2, "a": 1}', id="7")
    assert call.as_template_call() == {
        "id": "7",
        "type": "function",
        "function": {"name": "add", "arguments": {"b": 2, "a": 1}},
    }
    assert list(call.as_template_call()["function"]["arguments"]) == ["b", "a"]
    for text in ("[1]", "not JSON", "3"):
        assert ToolCall(name="add", arguments=text).as_template_call()["function"]["arguments"] == text
