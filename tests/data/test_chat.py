"""Loss on the assistant's tokens alone, and the same tokens in training and generation."""

import pytest

from drpt.data.chat import ChatEncoder, ChatTemplateError, encode_chat, encode_examples
from drpt.data.example import Example, Message
from drpt.models.chat_template import set_chat_template
from drpt.models.tiny import byte_tokenizer

TURNS = (
    Message(role="user", content="2 + 2?"),
    Message(role="assistant", content="4"),
    Message(role="user", content="And 3 + 3?"),
    Message(role="assistant", content="It is 6."),
)


@pytest.fixture(params=["own", "plain", "text"])
def tokenizer(request):
    tokenizer = byte_tokenizer()
    set_chat_template(tokenizer, request.param, label="tiny")
    return tokenizer


def test_assistant_turns_count_with_their_end_token(tokenizer):
    token_ids, mask, prompt_ids = encode_chat(tokenizer, TURNS)
    counted = tokenizer.decode([token for token, counts in zip(token_ids, mask, strict=True) if counts])
    assert counted == "4<|im_end|>It is 6.<|im_end|>"
    assert token_ids[: len(prompt_ids)] == prompt_ids
    assert tokenizer.decode(token_ids[len(prompt_ids) :]).rstrip() == "It is 6.<|im_end|>"


def test_text_is_what_the_template_renders(tokenizer):
    token_ids, _, prompt_ids = encode_chat(tokenizer, TURNS)
    turns = [{"role": message.role, "content": message.content} for message in TURNS]
    assert tokenizer.decode(token_ids) == tokenizer.apply_chat_template(turns, tokenize=False)
    prompt = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(prompt_ids) == prompt


def test_truncated_and_empty_examples_are_counted(tokenizer):
    examples = [
        Example(messages=TURNS[:2], source="short"),
        Example(messages=(TURNS[0], Message(role="assistant", content="4" * 200)), source="long answer"),
        Example(messages=(Message(role="user", content="?" * 200), TURNS[1]), source="long question"),
        Example(messages=(TURNS[0], Message(role="assistant", content="  ")), source="empty answer"),
    ]
    pool = encode_examples(tokenizer, examples, max_length=90)
    assert [row.example.source for row in pool.examples] == ["short", "long answer"]
    assert (pool.num_truncated, pool.num_empty) == (2, 2)
    assert all(len(row.token_ids) <= 90 and any(row.loss_mask) for row in pool.examples)


def test_of_a_template_that_rewrites_earlier_turns_the_last_one_is_learned():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    token_ids, mask, _ = encode_chat(tokenizer, TURNS)
    assert tokenizer.decode([token for token, counts in zip(token_ids, mask, strict=True) if counts]) == "It is 6."
    pool = encode_examples(tokenizer, [Example(messages=TURNS, source="a")], max_length=100)
    assert pool.counts == {"truncated": 0, "empty": 0, "turns_changed": 1, "unended": 1}


def test_template_that_refuses_roles_is_quoted():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system turn please') }}"
    with pytest.raises(ChatTemplateError, match=r"refuses the roles .*no system turn please"):
        encode_chat(tokenizer, TURNS)


@pytest.mark.parametrize("turns", [TURNS[:1], TURNS[:3], (Message(role="system", content="Be brief."), TURNS[0])])
def test_an_empty_last_turn_leaves_the_prompt_as_generation_sees_it(tokenizer, turns):
    token_ids, _, prompt_ids = encode_chat(tokenizer, (*turns, Message(role="assistant", content="")))
    shown = [{"role": message.role, "content": message.content} for message in turns]
    assert tokenizer.decode(prompt_ids) == tokenizer.apply_chat_template(shown, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(token_ids[len(prompt_ids) :]).rstrip() == "<|im_end|>"
    row = ChatEncoder(tokenizer, max_length=8).encode_prompt(Example(messages=(*turns, TURNS[1]), source="whatever it says"))
    assert (row.prompt_ids, row.end_token_id) == (prompt_ids, tokenizer.eos_token_id)


def test_a_template_that_writes_nothing_of_an_empty_turn_gives_the_prompt():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages if m.content %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    token_ids, mask, prompt_ids = encode_chat(tokenizer, (TURNS[0], Message(role="assistant", content="")))
    assert tokenizer.decode(prompt_ids) == "user: 2 + 2?\nassistant: "
    assert (token_ids, any(mask)) == (prompt_ids, False)
    token_ids, mask, _ = encode_chat(tokenizer, (TURNS[0], Message(role="assistant", content=""), *TURNS[2:]))
    assert tokenizer.decode([token for token, counts in zip(token_ids, mask, strict=True) if counts]) == "It is 6."


def test_as_text_the_response_goes_on_where_the_prompt_ends():
    tokenizer = byte_tokenizer()
    set_chat_template(tokenizer, "text", label="tiny")
    turns = (
        Message(role="system", content="A dialogue."),
        Message(role="user", content="Once upon"),
        Message(role="assistant", content=" a time"),
        Message(role="user", content="And then"),
        Message(role="assistant", content=""),
    )
    token_ids, mask, prompt_ids = encode_chat(tokenizer, turns)
    assert tokenizer.decode(prompt_ids) == "A dialogue.\nOnce upon a time<|im_end|>\nAnd then"
    assert tokenizer.decode(token_ids[len(prompt_ids) :]) == "<|im_end|>"
    assert tokenizer.decode([t for t, counts in zip(token_ids, mask, strict=True) if counts]) == " a time<|im_end|><|im_end|>"


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize(("choice", "prompt"), [("text", "Hi"), ("plain", "<|user|>\nHi\n<|assistant|>\n")])
def test_conversations_begin_as_the_tokenizer_begins_texts(choice, prompt, begins):
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer()
    tokenizer.bos_token = "<|im_start|>"
    if begins:
        tokenizer._tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
        )
    set_chat_template(tokenizer, choice, label="tiny")
    _, _, prompt_ids = encode_chat(tokenizer, (Message(role="user", content="Hi"), Message(role="assistant", content="")))
    assert prompt_ids == tokenizer(prompt).input_ids
    assert (prompt_ids[0] == tokenizer.bos_token_id) == begins
