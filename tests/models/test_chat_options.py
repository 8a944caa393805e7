"""Options of a chat template: given to it, part of what a run is, and refused where they would change nothing."""

import pytest

from drpt.models.chat_renderer import ChatRenderer, ChatStyle
from drpt.models.chat_template import check_options, set_chat_template
from drpt.models.spec import ModelSpec
from drpt.models.tiny import byte_tokenizer
from tests.data.chat_templates import DEEPSEEK, GEMMA, MARKED, PHI, QWEN3

TINY = {"source": "tiny", "name": None, "revision": None, "chat_template": "own", "gradient_checkpointing": False}


@pytest.mark.parametrize("key", ["tools", "messages", "add_generation_prompt", "strftime_now", "tokenize"])
def test_what_drpt_gives_itself_is_no_option(key):
    with pytest.raises(ValueError, match=rf"model\.chat_template_kwargs\.{key} is set by drpt itself"):
        ModelSpec(**TINY, chat_template_kwargs={key: 1})


def test_options_are_a_mapping():
    with pytest.raises(ValueError, match=r"model\.chat_template_kwargs=3 must be a mapping"):
        ModelSpec(**TINY, chat_template_kwargs=3)


def test_an_option_that_the_template_does_not_ask_for_is_refused():
    tokenizer = byte_tokenizer()
    with pytest.raises(ValueError, match=r"model\.chat_template_kwargs\.enable_thinking: the chat template does not use"):
        check_options(tokenizer, {"enable_thinking": False})
    tokenizer.chat_template = QWEN3
    check_options(tokenizer, {"enable_thinking": False})
    tokenizer.chat_template = {"default": MARKED, "tool_use": QWEN3}
    check_options(tokenizer, {"enable_thinking": False})
    with pytest.raises(ValueError, match="enable_thinkin: "):
        check_options(tokenizer, {"enable_thinkin": False})


def test_a_tokenizer_without_templates_is_refused():
    backend = type("MistralCommonBackend", (), {"__module__": "transformers.tokenization_mistral_common"})()
    with pytest.raises(ValueError, match="model=m: its tokenizer is one of mistral-common, which has no chat template"):
        set_chat_template(backend, "own", label="model=m")


@pytest.mark.parametrize(
    ("tail", "length", "first_length", "token"),
    [
        ("<|im_end|>\n", 10, 10, "<|im_end|>"),
        (" <|im_end|><|pad|>\n", 18, 11, "<|im_end|>"),
        (" <|im_end|><|pad|>\n<|im_start|>", 11, 11, "<|im_end|>"),  # another turn, which the second may begin
        ("</answer><|im_end|>", 19, 19, "<|im_end|>"),
        ("\n### \n", 4, 4, ""),
        ("\n", 0, 0, ""),
        ("", 0, 0, ""),
    ],
)
def test_a_turn_ends_with_the_first_special_token(tail, length, first_length, token):
    end = ChatRenderer(byte_tokenizer(), ChatStyle()).end_of_turn(tail)
    assert (end.length, end.first_length, end.token) == (length, first_length, token)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        (QWEN3, "reasoning_content"),
        ("{{ message.thinking }}", "thinking"),
        ("{% if 'thinking' in message %}{{ message['thinking'] }}{% endif %}", "thinking"),
        ("{{ message.get('reasoning') }}", "reasoning"),
        ("{{ enable_thinking }}", "reasoning_content"),
        (PHI, "reasoning_content"),
    ],
)
def test_thoughts_are_read_under_the_name_that_the_template_uses(template, key):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    assert ChatRenderer(tokenizer, ChatStyle()).thoughts_key(()) == key


def test_markers_are_found_in_any_of_jinjas_forms():
    tokenizer = byte_tokenizer()
    for template, has in ((MARKED, True), ("{%- generation -%}{%- endgeneration %}", True), (GEMMA, False), (DEEPSEEK, False)):
        tokenizer.chat_template = template
        assert ChatRenderer(tokenizer, ChatStyle()).has_markers(()) is has
