"""What is said at a run's start about a template and its examples: each thing once, with numbers and what to do."""

import logging

import pytest

from drpt.data.chat import ChatTemplateError, encode_examples
from drpt.data.chat_report import report_encoding
from drpt.data.example import Example, Message, ToolCall
from drpt.data.module import NoUsableExampleError, PostTrainingData
from drpt.data.pools import Pools
from drpt.data.spec import DataSpec
from drpt.data.split import StepSplit
from drpt.models.tiny import byte_tokenizer
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
            ["does not end the answers of 1 of 1", "{{ eos_token }}", "model.chat_template=plain"],
        ),
        (
            QWEN3,
            [(USER, HELLO)],
            [r"before the answers of 1 of 1", r"'<think>\n\n</think>\n\n' in tra", "enable_thinking"],
        ),
        (
            QWEN3,
            [(USER, THOUGHTFUL), (USER, THOUGHTFUL, USER, THOUGHTFUL)],
            ["earlier assistant turns of 1 of 2 examples are not learned", "only the last turns"],
        ),
        (CHATML, [(USER, THOUGHTFUL), (USER, HELLO)], ["the reasoning in 1 of 2 examples", "is lost"]),
        (DEEPSEEK, [(USER, HELLO)], [r"'<think>\n' in generation, '' in training"]),
        (CHATML, [(USER, CALL, USER, HELLO)], ["tool calls in earlier turns of 1 of 1 examples"]),
        (CHATML, [(USER, CALL), (USER, HELLO)], ["general pool: left out 1 of 2 examples", "tool calls", "a.jsonl:1"]),
        (CHATML, [(USER, UNLEARNED), (USER, HELLO)], ["left out 1 of 2 examples", '"weight": 0', "a.jsonl:1"]),
        (GEMMA, [(USER, HELLO), (USER, USER, HELLO)], ["left out 1 of 2 examples", "roles must alternate", "a.jsonl:2"]),
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


def data_of(template, *, general, target):
    """The data module of a run under a template."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    spec = DataSpec(
        name="test",
        source={"_target_": "none"},
        num_target=2,
        num_general=None,
        num_eval=1,
        general_rows=2,
        target_rows=1,
        max_length=200,
        packing=False,
        split_seed=0,
    )
    pools = Pools(
        general=[Example(messages=talk, source=f"general.jsonl:{i}") for i, talk in enumerate(general, start=1)],
        target=[Example(messages=talk, source=f"target.jsonl:{i}") for i, talk in enumerate(target, start=1)],
        stopping=[],
        evaluation=[Example(messages=(USER, HELLO), source="evaluation.jsonl:1")],
    )
    return PostTrainingData(
        pools,
        tokenizer,
        spec,
        num_steps=1,
        seed=0,
        needs_general=True,
        needs_target=True,
        split=StepSplit(num_micro_batches=1, is_mixed=False),
    )


def test_a_run_says_it_counts_it_and_goes_on(caplog):
    with caplog.at_level(logging.WARNING, logger="drpt"):
        data = data_of(QWEN3, general=[(USER, HELLO)] * 2 + [(USER, THOUGHTFUL, USER, HELLO)], target=[(USER, HELLO)] * 2)
    assert "earlier assistant turns of 1 of 6 examples are not learned" in caplog.text
    assert data.counts["general_turns_changed"] == 1
    assert data.counts["target_prompt_differs"] == 2
    assert data.step_batch(0).num_examples == 3


def test_where_too_few_are_left_the_first_reason_is_quoted():
    refused = (USER, USER, HELLO)
    with pytest.raises(NoUsableExampleError, match=r"1 for other reasons; the first, general\.jsonl:2: .*roles must alternate"):
        data_of(GEMMA, general=[(USER, HELLO), refused], target=[(USER, HELLO)] * 2)
    with pytest.raises(ChatTemplateError, match=r"^target\.jsonl:1: .*roles must alternate"):
        data_of(GEMMA, general=[(USER, HELLO)] * 2, target=[refused] * 2)
