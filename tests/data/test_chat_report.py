"""What is said at a run's start about a template and its examples: each thing once, with numbers and what to do."""

import logging

import pytest

from drpt.data.chat import encode_examples
from drpt.data.chat_report import report_encoding
from drpt.data.example import Example, Message, ToolCall
from tests.data.chat_templates import CHATML, DEEPSEEK, GEMMA, QWEN3, UNENDED
from tests.data.tokenizers_of_kinds import qwen

USER = Message(role="user", content="Hi")
HELLO = Message(role="assistant", content="Hello!")
THOUGHTFUL = Message(role="assistant", content="Hello!", reasoning_content="A greeting.")
CALL = Message(role="assistant", content="", tool_calls=(ToolCall(name="add", arguments="{}"),))
UNLEARNED = Message(role="assistant", content="Hello!", is_learned=False)


def said(caplog, template, *talks):
    tokenizer = qwen()
    tokenizer.chat_template = template
    examples = [Example(messages=talk, source=f"a.jsonl:{i}") for i, talk in enumerate(talks, start=1)]
    with caplog.at_level(logging.INFO, logger="drpt"):
        report_encoding({"general": encode_examples(tokenizer, examples, max_length=100)})
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name.startswith("drpt")]


@pytest.mark.parametrize(
    ("template", "talks", "words"),
    [
        (
            UNENDED,
            [(USER, HELLO)],
            ["ends none of the answers of 1 of 1", "{{ eos_token }}", "model.chat_template=plain"],
        ),
        (
            QWEN3,
            [(USER, HELLO)],
            [r"before the answers of 1 of 1", r"'<think>\n\n</think>\n\n' in tra", "enable_thinking"],
        ),
        (
            QWEN3,
            [(USER, THOUGHTFUL), (USER, THOUGHTFUL, USER, THOUGHTFUL)],
            ["earlier assistant turns of 1 of 2 examples are not learned", "The last turns are learned"],
        ),
        (CHATML, [(USER, THOUGHTFUL), (USER, HELLO)], ["thoughts in 1 of 2 examples", "are lost"]),
        (DEEPSEEK, [(USER, HELLO)], [r"'<think>\n' in generation, '' in training"]),
        (CHATML, [(USER, CALL, USER, HELLO)], ["tool calls in earlier turns of 1 of 1 examples"]),
        (CHATML, [(USER, CALL), (USER, HELLO)], ["general pool: 1 of 2 examples are left out", "tool calls", "a.jsonl:1"]),
        (CHATML, [(USER, UNLEARNED), (USER, HELLO)], ["1 of 2 examples are left out", '"weight": 0', "a.jsonl:1"]),
        (GEMMA, [(USER, HELLO), (USER, USER, HELLO)], ["1 of 2 examples are left out", "roles must alternate", "a.jsonl:2"]),
    ],
)
def test_it_is_said_with_its_number_and_remedy(caplog, template, talks, words):
    found = said(caplog, template, *talks)
    matching = [text for level, text in found if level == "WARNING" and all(word in text for word in words)]
    assert len(matching) == 1, found


def test_of_a_template_that_treats_all_well_nothing_is_said(caplog):
    assert said(caplog, CHATML, (USER, HELLO), (USER, HELLO, USER, HELLO)) == []


def test_a_replaced_developer_is_no_warning(caplog):
    found = said(caplog, CHATML, (Message(role="developer", content="Be brief."), USER, HELLO))
    assert [level for level, _ in found] == ["INFO"]
    assert "such turns of 1 of 1 examples are written as system turns" in found[0][1]
