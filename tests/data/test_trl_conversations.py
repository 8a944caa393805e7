"""The conversations by which TRL tests assistant masks, under templates with generation markers.

Inputs adapted as data from huggingface/trl, tests/test_chat_template_utils.py at f2cd577 (Apache-2.0): the conversations, and
what TRL asks of their masks. Its templates are not taken; ours are in `tests.data.chat_templates`.
"""

import pytest

from drpt.data.chat import ChatEncoder, LeftOut
from drpt.data.example import Example, Message, ToolCall
from tests.data.chat_templates import CHATML, LLAMA3, MARKED, PHI, QWEN3
from tests.data.tokenizers_of_kinds import FAST

SKY = Message(role="user", content="What color is the sky?")
BLUE = Message(role="assistant", content="It is blue.")
SCATTERED = Message(
    role="assistant", content="It is blue.", reasoning_content="The sky appears blue due to Rayleigh scattering."
)
THINKING = Message(role="assistant", content="<think>\nThe sky scatters shorter wavelengths.\n</think>\n\nIt is blue.")
MULTIPLY = Message(role="user", content="Multiply 3 by 4.")
CALLS = (ToolCall(name="multiply", arguments='{"a": 3, "b": 4}'),)
CALLING = Message(role="assistant", content="I will call a tool.", tool_calls=CALLS)
TALKS = {
    "single turn": (SKY, BLUE),
    "multi turn": (
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello!"),
        Message(role="user", content="Bye"),
        Message(role="assistant", content="Goodbye!"),
    ),
    "reasoning content": (SKY, SCATTERED),
    "think tags": (SKY, THINKING),
    "tool calls": (MULTIPLY, CALLING),
    "tool calls and their result": (
        MULTIPLY,
        CALLING,
        Message(role="tool", content="12", name="multiply"),
        Message(role="assistant", content="It is 12."),
    ),
}
# Templates with markers: each of the kind as a model's own would be after TRL's patch.
HEADED = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m['role'] + '<|stop|>\n\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] | trim + '<|eot|>' }}{% endgeneration %}{% else %}"
    "{{ m['content'] | trim + '<|eot|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|stop|>\n\n' }}{% endif %}"
)
BLOCKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ '<think>\n' + (m['reasoning_content'] or '') + '\n</think>\n\n' + m['content'] }}"
    "{% for call in m['tool_calls'] or [] %}{{ '\n' + call['function'] | tojson }}{% endfor %}{{ '<|im_end|>\n' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WITH_MARKERS = {"chatml": MARKED, "headers": HEADED, "blocks of thoughts": BLOCKS}


def encode(tokenizer, template, talk):
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, max_length=1000).encode(Example(messages=TALKS[talk], source="trl"))


@pytest.mark.parametrize("kind", ["llama", "qwen", "gemma"])
@pytest.mark.parametrize("template", WITH_MARKERS)
@pytest.mark.parametrize("talk", TALKS)
def test_masks_are_those_of_transformers(kind, template, talk):
    tokenizer = FAST[kind]()
    row = encode(tokenizer, WITH_MARKERS[template], talk)
    if template == "headers" and talk == "tool calls":  # departure: a call that is not written is left out
        assert isinstance(row, LeftOut)
        return
    own = tokenizer.apply_chat_template(
        [turn.as_template_turn() for turn in TALKS[talk]], return_dict=True, return_assistant_tokens_mask=True
    )
    assert row.token_ids == own["input_ids"]
    theirs = [bool(counts) for counts in own["assistant_masks"]]
    if template == "headers" and talk == "tool calls and their result":  # departure: nor is it learned before others
        assert sum(theirs) > sum(row.loss_mask)
        assert "tool_calls_lost" in row.notes
    else:
        assert row.loss_mask == theirs
    assert row.loss_mask[0] is False


@pytest.mark.parametrize("template", [CHATML, LLAMA3, PHI, QWEN3, *WITH_MARKERS.values()])
def test_two_turns_are_two_runs_of_learned_tokens(template):
    tokenizer = FAST["qwen"]()
    row = encode(tokenizer, template, "multi turn")
    assert sum(one != other for one, other in zip(row.loss_mask, row.loss_mask[1:], strict=False)) in {3, 4}
    learned = [token for token, counts in zip(row.token_ids, row.loss_mask, strict=True) if counts]
    assert learned.count(row.end_token_id) == 2  # the end of each turn is trained
    assert "unended" not in row.notes
