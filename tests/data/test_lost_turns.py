"""What a template leaves out of a conversation: said and counted, or, where an answer would be learned without it, refused."""

import logging

import pytest

from drpt.data.chat import ChatEncoder, ChatTemplateError, LeftOut, encode_examples
from drpt.data.chat_report import report_encoding
from drpt.data.example import Example, Message, ToolCall
from tests.data.chat_templates import CHATML, MARKED, PHI, QWEN3
from tests.data.tokenizers_of_kinds import qwen

SYSTEM, USER = Message(role="system", content="Be brief."), Message(role="user", content="Is it sunny?")
CALL = Message(role="assistant", content="", tool_calls=(ToolCall(name="look", arguments='{"city": "Paris"}'),))
TALKING_CALL = Message(role="assistant", content="Let me look.", tool_calls=CALL.tool_calls)
RESULT, ANSWER = Message(role="tool", content="yes", name="look"), Message(role="assistant", content="It is sunny, yes.")
# As of Llama 3.1: a turn that calls is the call alone.
CALLS_ALONE = CHATML.replace("m['content']", "(m.tool_calls[0].function.name if 'tool_calls' in m else m['content'])")
MARKED_CALLS_ALONE = MARKED.replace(
    "{{ m['content'] }}{% for", "{% if 'tool_calls' not in m %}{{ m['content'] }}{% endif %}{% for"
)
FIRST_CALL_ALONE = CHATML.replace("m['content']", "(m.tool_calls[0].function.name if m.tool_calls else m['content'] | trim)")
# As of Phi 3: there is no branch for a tool's turn.
TOOLLESS = PHI.replace("{% for m in messages %}", "{% for m in messages if m['role'] in ['system', 'user', 'assistant'] %}")
TOOLLESS_HEADERS = CHATML.replace("m['content']", "('' if m['role'] == 'tool' else m['content'])")
SYSTEMLESS = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
# As of GPT-OSS and GLM 4: a turn that calls is ended by a token of its own, within the marks.
OWN_END = MARKED.replace(
    "{{ '<|im_end|>\n' }}{% endgeneration %}",
    "{{ '<|stop|>' if m['tool_calls'] else '<|im_end|>\n' }}{% endgeneration %}",
)


@pytest.fixture(scope="module")
def tokenizer():
    return qwen()


def encode(tokenizer, template, *turns):
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, max_length=1000).encode(Example(messages=turns, source="here"))


@pytest.mark.parametrize("template", [CALLS_ALONE, MARKED_CALLS_ALONE, FIRST_CALL_ALONE])
@pytest.mark.parametrize("rest", [(), (RESULT, ANSWER)])
def test_what_is_said_beside_a_call_and_lost_is_counted_and_said(tokenizer, template, rest, caplog):
    tokenizer.chat_template = template
    talks = [(USER, TALKING_CALL, *rest), (USER, CALL, *rest), (USER, ANSWER)]
    pool = encode_examples(tokenizer, [Example(messages=talk, source="a") for talk in talks], max_length=1000)
    assert pool.counts["content_lost"] == 1
    assert pool.examples[0].notes["content_lost"] == "'Let me look.'"
    with caplog.at_level(logging.WARNING, logger="drpt"):
        report_encoding({"general": pool})
    assert "does not write the assistant's content beside tool calls in 1 of 3 examples" in caplog.text
    assert "The first: 'Let me look.'" in caplog.text


def test_what_is_written_beside_a_call_is_not_said_to_be_lost(tokenizer):
    for template in (QWEN3, MARKED):
        assert "content_lost" not in encode(tokenizer, template, USER, TALKING_CALL, RESULT, ANSWER).notes


@pytest.mark.parametrize(
    ("template", "turns", "role"),
    [
        (TOOLLESS, (USER, CALL, RESULT, ANSWER), "tool"),
        (TOOLLESS_HEADERS, (USER, CALL, RESULT, ANSWER), "tool"),
        (TOOLLESS, (USER, CALL, RESULT, ANSWER, USER, ANSWER), "tool"),
        (SYSTEMLESS, (SYSTEM, USER, ANSWER), "system"),
        (TOOLLESS, (USER, CALL, Message(role="tool", content="It is sunny, yes."), ANSWER, USER, ANSWER), "tool"),
    ],
)
def test_an_answer_to_a_turn_that_is_not_written_is_left_out(tokenizer, template, turns, role):
    row = encode(tokenizer, template, *turns)
    assert isinstance(row, LeftOut)
    assert row.reason == "unwritten"
    assert f"does not write the turn of the role '{role}'" in row.words
    with pytest.raises(ChatTemplateError, match="would be learned without it"):
        ChatEncoder(tokenizer, max_length=1000).encode_prompt(row.example)


def test_turns_that_are_written_otherwise_are_not_left_out(tokenizer):
    shouted = CHATML.replace("m['content']", "(m['content'] | upper if m['role'] == 'tool' else m['content'])")
    assert not isinstance(encode(tokenizer, shouted, USER, CALL, RESULT, ANSWER), LeftOut)
    assert not isinstance(encode(tokenizer, PHI, SYSTEM, USER, CALL, RESULT, ANSWER), LeftOut)


@pytest.mark.parametrize("call", [CALL, TALKING_CALL])
@pytest.mark.parametrize("template", [OWN_END, OWN_END.replace("'<|stop|>'", "'<|stop|>\n'"), OWN_END.replace("stop", "eot")])
def test_a_call_that_a_token_of_its_own_ends_is_ended(tokenizer, template, call):
    row = encode(tokenizer, template, USER, call)
    assert "unended" not in row.notes
    assert tokenizer.convert_ids_to_tokens(row.end_token_id) == ("<|eot|>" if "eot" in template else "<|stop|>")


def test_a_call_without_an_end_is_unended(tokenizer):
    assert "unended" in encode(tokenizer, OWN_END.replace("'<|stop|>'", "''"), USER, CALL).notes


ALL_MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% generation %}{{ m['content'] + '<|im_end|>\n' }}"
    "{% endgeneration %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
USER_MARKED = ALL_MARKED.replace("{% generation %}{{", "{% if m['role'] != 'system' %}{% generation %}{{").replace(
    "{% endgeneration %}", "{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
)
ONE_BLOCK = "{% generation %}" + CHATML.replace("{% endfor %}", "{% endfor %}{% endgeneration %}", 1)


@pytest.mark.parametrize("template", [ALL_MARKED, USER_MARKED, ONE_BLOCK], ids=["all", "all but the system", "one block"])
@pytest.mark.parametrize("is_learned", [True, False])
def test_markers_around_what_others_say_are_refused(tokenizer, template, is_learned):
    first = Message(role="assistant", content="Yes.", is_learned=is_learned)
    row = encode(tokenizer, template, SYSTEM, USER, first, USER, ANSWER)
    assert isinstance(row, LeftOut)
    assert row.reason == "ambiguous"
    assert "enclose text of other roles than the assistant" in row.words


def test_what_the_assistant_repeats_is_no_fault_of_the_markers(tokenizer):
    echo = Message(role="assistant", content="Is it sunny? Yes.")
    assert not isinstance(encode(tokenizer, MARKED, USER, echo, USER, echo), LeftOut)


@pytest.mark.parametrize("after", ["<|im_start|>system\nGo on.", "<|im_start|>user\n", "<|stop|> <|start|>x"])
def test_what_a_template_begins_after_the_last_answer_is_not_learned(tokenizer, after):
    template = (
        CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|>'") + "{% if not add_generation_prompt %}{{ AFTER }}{% endif %}"
    )
    row = encode(tokenizer, template.replace("AFTER", repr(after)), USER, ANSWER)
    learned = [token for token, counts in zip(row.token_ids, row.loss_mask, strict=True) if counts]
    assert tokenizer.decode(learned) == "It is sunny, yes.<|im_end|>"


def test_a_conversation_whose_turns_are_changed_is_not_said_to_have_no_weight(tokenizer):
    thoughtful = Message(role="assistant", content="Yes.", reasoning_content="Blue sky.")
    last = Message(role="assistant", content="It is.", is_learned=False)
    row = encode(tokenizer, QWEN3, USER, thoughtful, USER, last)
    assert isinstance(row, LeftOut)
    assert "the template changes the turns" in row.words


@pytest.mark.parametrize("arguments", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{bad"])
def test_arguments_that_no_reader_takes_are_written_as_they_are(arguments):
    call = ToolCall(name="f", arguments=arguments).as_template_call()
    assert call["function"]["arguments"] == arguments
