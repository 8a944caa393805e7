"""Ids are those of the tokenizer's own `apply_chat_template`, for every family of templates and every kind of tokenizer."""

import pytest

from drpt.data.chat import encode_chat
from drpt.data.example import Message, ToolCall
from drpt.models.chat_renderer import ChatStyle
from tests.data.chat_templates import CHATML, FAMILIES, LLAMA2, PARTS, QWEN3
from tests.data.tokenizers_of_kinds import FAST, byt5, llama, of_model_file, slow_sentencepiece

USER, ANSWER = Message(role="user", content="Hello"), Message(role="assistant", content="Hello! How can I help you?")
KINDS = [*FAST, "byt5", "sentencepiece", "model file"]
TALKS = {
    "one turn": (USER, ANSWER),
    "three turns": (
        USER,
        ANSWER,
        Message(role="user", content="  What color is the sky?\n"),
        Message(role="assistant", content="Blue 😀.\n\nNaïve café, 你好"),
        Message(role="user", content="2 + 2?"),
        Message(role="assistant", content="4"),
    ),
    "a line break first": (USER, Message(role="assistant", content="\n\nHello")),
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    slow = {"byt5": byt5(), "sentencepiece": slow_sentencepiece(tmp_path_factory.mktemp("slow"))}
    read = {"model file": of_model_file(tmp_path_factory.mktemp("read"))}
    return {name: make() for name, make in FAST.items()} | slow | read


def own_ids(tokenizer, turns, **options):
    given = [turn.as_template_turn() for turn in turns]
    return tokenizer.apply_chat_template(given, tokenize=True, return_dict=False, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_prompts_are_the_tokenizers_own(tokenizers, kind, family):
    tokenizer = tokenizers[kind]
    tokenizer.chat_template = FAMILIES[family]
    for turns in TALKS.values():
        ids, mask, prompt_ids = encode_chat(tokenizer, turns)
        assert ids == own_ids(tokenizer, turns)
        assert prompt_ids == own_ids(tokenizer, turns[:-1], add_generation_prompt=True)
        assert len(mask) == len(ids)
        assert any(mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["chatml", "llama2", "llama3", "gemma", "zephyr", "phi", "marked"])
def test_every_answer_is_learned_with_its_end_and_nothing_else(tokenizers, kind, family):
    tokenizer = tokenizers[kind]
    tokenizer.chat_template = FAMILIES[family]
    ids, mask, _ = encode_chat(tokenizer, TALKS["three turns"])
    end = {"chatml": "<|im_end|>", "marked": "<|im_end|>", "llama3": "<|eot|>", "gemma": "<|eot|>", "phi": "<|eot|>"}
    answers = [turn.content.strip() + end.get(family, tokenizer.eos_token) for turn in TALKS["three turns"][1::2]]
    written = ["".join(tokenizer.decode(run).split()) for run in learned(ids, mask)]
    wanted = ["".join(tokenizer.decode(tokenizer.encode(answer, add_special_tokens=False)).split()) for answer in answers]
    assert written == wanted


def learned(ids, mask):
    """Runs of learned tokens."""
    runs, before = [], False
    for token, counts in zip(ids, mask, strict=True):
        if counts:
            runs += [] if before else [[]]
            runs[-1].append(token)
        before = counts
    return runs


def test_the_first_token_of_an_answer_is_the_templates():
    tokenizer = llama()
    tokenizer.chat_template = CHATML
    ids, mask, prompt_ids = encode_chat(tokenizer, (USER, Message(role="assistant", content="Hello")))
    assert tokenizer.convert_ids_to_tokens(learned(ids, mask)[0])[0] == "H"  # not ▁Hello, which a text of its own begins with
    assert ids[: len(prompt_ids)] == prompt_ids
    tokenizer.chat_template = LLAMA2
    ids, mask, prompt_ids = encode_chat(tokenizer, (USER, Message(role="assistant", content="Hello")))
    assert tokenizer.convert_ids_to_tokens(learned(ids, mask)[0])[:1] == ["▁Hello"]  # the space before it is written, too
    assert ids[: len(prompt_ids)] == prompt_ids


def test_no_beginning_of_text_is_written_twice(tokenizers):
    for name in ("llama", "gemma", "gpt2"):
        tokenizer = tokenizers[name]
        for family in ("llama3", "gemma", "chatml"):
            tokenizer.chat_template = FAMILIES[family]
            ids, _, _ = encode_chat(tokenizer, TALKS["one turn"])
            assert ids.count(tokenizer.bos_token_id) == (family != "chatml")


@pytest.mark.parametrize("template", [QWEN3, FAMILIES["deepseek"]])
def test_tool_calls_and_tools_are_written_as_the_template_takes_them(tokenizers, template):
    tokenizer = tokenizers["qwen"]
    tokenizer.chat_template = "{% for tool in tools or [] %}{{ tool['function']['name'] + '\n' }}{% endfor %}" + template
    tools = ({"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}},)
    call = Message(role="assistant", content="", tool_calls=(ToolCall(name="add", arguments='{"b": 2, "a": 1.50}', id="1"),))
    turns = (USER, call, Message(role="tool", content="3.5", tool_call_id="1"), Message(role="assistant", content="3.5"))
    given = [turn.as_template_turn() for turn in turns]
    if template is not QWEN3:
        given[1]["tool_calls"][0]["function"]["arguments"] = '{"b": 2, "a": 1.5}'
    wanted = tokenizer.apply_chat_template(given, tools=[dict(tool) for tool in tools], tokenize=True, return_dict=False)
    assert encode_chat(tokenizer, turns, tools=tools)[0] == wanted
    assert tokenizer.decode(wanted).startswith("add\n")


def test_contents_in_parts_are_given_to_templates_that_want_them(tokenizers):
    tokenizer = tokenizers["gemma"]
    tokenizer.chat_template = PARTS
    ids, mask, _ = encode_chat(tokenizer, TALKS["one turn"])
    given = [{"role": turn.role, "content": [{"type": "text", "text": turn.content}]} for turn in TALKS["one turn"]]
    assert ids == tokenizer.apply_chat_template(given, tokenize=True, return_dict=False)
    assert [tokenizer.decode(run) for run in learned(ids, mask)] == [" Hello! How can I help you?<|eot|>"]


def test_options_of_a_template_are_given_to_it(tokenizers):
    tokenizer = tokenizers["qwen"]
    tokenizer.chat_template = QWEN3
    turns, options = TALKS["one turn"], {"enable_thinking": False}
    ids, mask, prompt_ids = encode_chat(tokenizer, turns, style=ChatStyle(options=options))
    assert ids == own_ids(tokenizer, turns, **options)
    assert prompt_ids == own_ids(tokenizer, turns[:-1], add_generation_prompt=True, **options)
    assert ids[: len(prompt_ids)] == prompt_ids
    assert mask == [False] * len(prompt_ids) + [True] * (len(ids) - len(prompt_ids) - 1) + [False]
