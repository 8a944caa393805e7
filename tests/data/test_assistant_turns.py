"""What is learned of a conversation: each assistant turn as generation would have to write it, and no more."""

import copy
import itertools
import re

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from drpt.data.chat import ChatEncoder, ChatTemplateError, LeftOut, encode_chat, encode_examples
from drpt.data.example import Example, Message, ToolCall
from tests.data.chat_templates import (
    CHATML,
    DEEPSEEK,
    FAMILIES,
    GEMMA,
    MARKED,
    MISTRAL,
    PHI,
    PROMPTLESS,
    QWEN3,
    UNENDED,
)
from tests.data.tokenizers_of_kinds import qwen

SYSTEM = Message(role="system", content="Be brief.")
USER, AGAIN = Message(role="user", content="Hi"), Message(role="user", content="Bye")
HELLO, GOODBYE = Message(role="assistant", content="Hello!"), Message(role="assistant", content="Goodbye!")
CALL = Message(role="assistant", content="", tool_calls=(ToolCall(name="add", arguments='{"a": 1}'),))
TALKING_CALL = Message(role="assistant", content="I add.", tool_calls=CALL.tool_calls)
RESULT = Message(role="tool", content="2", name="add")


@pytest.fixture(scope="module")
def tokenizer():
    return qwen()


def encode(tokenizer, template, *turns, **fields):
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, max_length=1000).encode(Example(messages=turns, source="here", **fields))


def learned(tokenizer, row):
    """The texts that are learned."""
    runs, before = [], False
    for token, counts in zip(row.token_ids, row.loss_mask, strict=True):
        if counts:
            runs += [] if before else [[]]
            runs[-1].append(token)
        before = counts
    return [tokenizer.decode(run) for run in runs]


class TestWeights:
    """``"weight": 0`` on an assistant turn."""

    @pytest.mark.parametrize("template", [CHATML, MARKED, QWEN3, PHI, GEMMA])
    def test_a_turn_of_weight_zero_is_context_alone(self, tokenizer, template):
        unlearned = Message(role="assistant", content="Hello!", is_learned=False)
        row = encode(tokenizer, template, USER, unlearned, AGAIN, GOODBYE)
        whole = encode(tokenizer, template, USER, HELLO, AGAIN, GOODBYE)
        assert row.token_ids == whole.token_ids
        assert learned(tokenizer, row) == learned(tokenizer, whole)[1:]
        last = Message(role="assistant", content="Goodbye!", is_learned=False)
        assert learned(tokenizer, encode(tokenizer, template, USER, HELLO, AGAIN, last)) == learned(tokenizer, whole)[:1]

    def test_a_conversation_without_a_learned_turn_is_left_out_and_counted(self, tokenizer):
        tokenizer.chat_template = CHATML
        unlearned = Message(role="assistant", content="Hello!", is_learned=False)
        examples = [Example(messages=(USER, HELLO), source="a"), Example(messages=(USER, unlearned), source="b")]
        pool = encode_examples(tokenizer, examples, max_length=100)
        assert pool.counts == {"truncated": 0, "empty": 0, "weight_zero": 1}

    def test_markers_of_several_blocks_a_turn_are_told_apart(self, tokenizer):
        ends = "{% if not add_generation_prompt %}{% generation %}{{ eos_token }}{% endgeneration %}{% endif %}"
        unlearned = Message(role="assistant", content="Hello!", is_learned=False)
        row = encode(tokenizer, MARKED + ends, USER, unlearned, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Goodbye!<|im_end|>\n<|endoftext|>"]


class TestEnds:
    """The special token that ends a turn."""

    def test_a_template_that_ends_no_turn_is_noted(self, tokenizer):
        row = encode(tokenizer, UNENDED, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Hello!", "Goodbye!"]
        assert row.end_token_id is None
        assert "unended" in row.notes

    def test_markers_that_leave_the_end_out_are_noted(self, tokenizer):
        template = MARKED.replace("{{ '<|im_end|>\n' }}{% endgeneration %}", "{% endgeneration %}{{ '<|im_end|>\n' }}")
        row = encode(tokenizer, template, USER, HELLO)
        assert learned(tokenizer, row) == ["Hello!"]
        assert "unended" in row.notes

    def test_the_token_that_ends_a_turn_is_known_whatever_ends_the_conversation(self, tokenizer):
        row = encode(tokenizer, PHI, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Hello!<|eot|>", "Goodbye!<|eot|>"]
        assert row.end_token_id == tokenizer.convert_tokens_to_ids("<|eot|>")
        assert not row.notes

    def test_a_template_with_markers_for_other_conversations_is_compared(self, tokenizer):
        template = CHATML + "{% if tools %}{% generation %}{{ 'x' }}{% endgeneration %}{% endif %}"
        assert learned(tokenizer, encode(tokenizer, template, USER, HELLO)) == ["Hello!<|im_end|>"]

    def test_a_token_at_the_end_of_a_conversation_alone_does_not_hide_earlier_turns(self, tokenizer):
        template = PHI.replace("'<|eot|>\n'", "'<|eot|>'")  # the two tokens stand side by side
        row = encode(tokenizer, template, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Hello!<|eot|>", "Goodbye!<|eot|><|endoftext|>"]

    def test_several_tokens_that_end_each_turn_are_learned_together(self, tokenizer):
        row = encode(tokenizer, CHATML.replace("'<|im_end|>'", "'<|stop|><|im_end|>'"), USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Hello!<|stop|><|im_end|>", "Goodbye!<|stop|><|im_end|>"]


class TestThoughts:
    """``reasoning_content``, thoughts in the content, and blocks for them."""

    def test_an_empty_block_that_training_alone_has_is_not_learned_and_noted(self, tokenizer):
        row = encode(tokenizer, QWEN3, USER, HELLO)
        assert "<think>\n\n</think>\n\nHello!" in tokenizer.decode(row.token_ids)
        assert learned(tokenizer, row) == ["Hello!<|im_end|>"]
        assert row.notes["prompt_differs"] == r"'' in generation, '<think>\n\n</think>\n\n' in training"

    @pytest.mark.parametrize("form", ["apart", "in the content"])
    def test_a_thought_is_learned_with_its_block(self, tokenizer, form):
        answer = Message(role="assistant", content="It is blue.", reasoning_content="Rayleigh.")
        if form == "in the content":
            answer = Message(role="assistant", content="<think>\nRayleigh.\n</think>\n\nIt is blue.")
        row = encode(tokenizer, QWEN3, USER, answer)
        assert learned(tokenizer, row) == ["<think>\nRayleigh.\n</think>\n\nIt is blue.<|im_end|>"]
        assert not row.notes

    def test_of_changed_earlier_turns_the_last_one_is_learned(self, tokenizer):
        thoughtful = Message(role="assistant", content="Hello!", reasoning_content="A greeting.")
        row = encode(tokenizer, QWEN3, USER, thoughtful, AGAIN, GOODBYE)
        assert "A greeting." not in tokenizer.decode(row.token_ids)
        assert learned(tokenizer, row) == ["Goodbye!<|im_end|>"]
        assert {"turns_changed", "thoughts_lost"} <= set(row.notes)

    def test_an_earlier_turn_that_stands_as_it_would_be_written_is_learned(self, tokenizer):
        row = encode(tokenizer, QWEN3, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Hello!<|im_end|>", "Goodbye!<|im_end|>"]
        assert "turns_changed" not in row.notes

    @pytest.mark.parametrize("template", [CHATML, GEMMA, MARKED])
    def test_a_thought_that_is_not_written_is_noted(self, tokenizer, template):
        row = encode(tokenizer, template, USER, Message(role="assistant", content="Hello!", reasoning_content="A greeting."))
        assert learned(tokenizer, row)[0].startswith("Hello!<|")
        assert "thoughts_lost" in row.notes

    def test_a_template_may_read_thoughts_under_another_name(self, tokenizer):
        template = CHATML.replace("m['content']", "('<think>' + m.thinking + '</think>' if m.thinking else '') + m['content']")
        row = encode(tokenizer, template, USER, Message(role="assistant", content="Hello!", reasoning_content="A greeting."))
        assert learned(tokenizer, row) == ["<think>A greeting.</think>Hello!<|im_end|>"]
        assert "thoughts_lost" not in row.notes

    def test_a_generation_prompt_that_opens_a_thought_is_noted(self, tokenizer):
        row = encode(tokenizer, DEEPSEEK, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Goodbye!<|eot|>"]
        assert row.notes["prompt_differs"] == r"'<think>\n' in generation, '' in training"
        assert tokenizer.decode(row.prompt_ids).endswith("<|Assistant|><think>\n")

    def test_a_thought_after_a_prompt_with_an_empty_block_is_learned_from_where_they_part(self, tokenizer):
        answer = Message(role="assistant", content="It is blue.", reasoning_content="Rayleigh.")
        row = encode(tokenizer, QWEN3.replace("enable_thinking is defined and not enable_thinking", "true"), USER, answer)
        assert learned(tokenizer, row) == ["Rayleigh.\n</think>\n\nIt is blue.<|im_end|>"]
        assert "prompt_differs" in row.notes


class TestCalls:
    """Turns that call tools."""

    def test_a_call_alone_is_learned_as_the_template_writes_it(self, tokenizer):
        row = encode(tokenizer, QWEN3, USER, CALL, RESULT, HELLO)
        assert learned(tokenizer, row) == ['<tool_call>add{"a": 1}</tool_call><|im_end|>', "Hello!<|im_end|>"]

    @pytest.mark.parametrize("call", [CALL, TALKING_CALL, Message(role="assistant", content="add", tool_calls=CALL.tool_calls)])
    @pytest.mark.parametrize(
        "template", [CHATML, MARKED.replace("{% for call in m['tool_calls'] or [] %}", "{% for x in [] %}")]
    )
    def test_a_call_that_is_not_written_is_left_out_never_a_bare_end(self, tokenizer, template, call):
        row = encode(tokenizer, template.replace("call['function']['name']", "''"), USER, call)
        assert isinstance(row, LeftOut)
        assert row.reason == "tool_calls"
        row = encode(tokenizer, template, USER, call, RESULT, HELLO)
        assert [text.strip() for text in learned(tokenizer, row)] == ["Hello!<|im_end|>"]
        assert "tool_calls_lost" in row.notes

    @pytest.mark.parametrize("template", [CHATML, MARKED], ids=["compared", "marked"])
    @pytest.mark.parametrize("thought", [None, "Hm."], ids=["empty", "with a thought that is not written"])
    def test_an_earlier_turn_of_which_nothing_is_written_teaches_no_bare_end(self, tokenizer, template, thought):
        silent = Message(role="assistant", content="", reasoning_content=thought)
        row = encode(tokenizer, template, USER, silent, AGAIN, GOODBYE)
        assert [text.strip() for text in learned(tokenizer, row)] == ["Goodbye!<|im_end|>"]
        assert isinstance(encode(tokenizer, template, USER, silent), LeftOut)

    def test_a_template_that_writes_nothing_of_a_call_is_named(self, tokenizer):
        row = encode(tokenizer, UNENDED, USER, CALL)
        assert isinstance(row, LeftOut)
        assert row.reason == "tool_calls"


class TestPrompts:
    """What stands before an answer in training, and what generation is given."""

    def test_a_template_without_a_generation_prompt_is_noted(self, tokenizer):
        row = encode(tokenizer, PROMPTLESS, USER, HELLO)
        assert learned(tokenizer, row) == ["Hello!<|im_end|>"]
        assert row.notes["prompt_differs"] == r"'' in generation, '<|im_start|>assistant\n' in training"

    def test_a_system_turn_that_moves_on_leaves_the_last_turn(self, tokenizer):
        row = encode(tokenizer, MISTRAL, SYSTEM, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == [" Goodbye!<|endoftext|>"]
        assert "turns_changed" in row.notes
        assert learned(tokenizer, encode(tokenizer, MISTRAL, USER, HELLO, AGAIN, GOODBYE)) == [
            " Hello!<|endoftext|>",
            " Goodbye!<|endoftext|>",
        ]

    def test_a_token_that_reaches_from_the_prompt_into_the_answer_is_learned_and_noted(self, tokenizer):
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocab = {letter: i for i, letter in enumerate([*alphabet, "ĊĊ"])}
        other = copy.deepcopy(tokenizer)
        backend = Tokenizer(models.BPE(vocab=vocab, merges=[("Ċ", "Ċ")]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
        other._tokenizer = backend
        row = encode(other, CHATML, USER, Message(role="assistant", content="\nHello"))
        assert learned(other, row) == ["\n\nHello<|im_end|>"]
        assert row.notes["prompt_differs"] == "a token spans the end of the prompt"

    def test_a_conversation_may_begin_with_the_assistant(self, tokenizer):
        row = encode(tokenizer, CHATML, HELLO, USER, GOODBYE)
        assert learned(tokenizer, row) == ["Hello!<|im_end|>", "Goodbye!<|im_end|>"]

    def test_a_template_that_takes_the_first_turns_with_the_others_alone_leaves_the_last_one(self, tokenizer):
        template = (
            "{% if messages | length == 2 and messages[1]['role'] == 'assistant' %}{{ raise_exception('no') }}{% endif %}"
        )
        row = encode(tokenizer, template + UNENDED, USER, HELLO, AGAIN, GOODBYE)
        assert learned(tokenizer, row) == ["Goodbye!"]
        assert "turns_changed" in row.notes

    def test_a_developer_is_the_system_of_templates_that_do_not_name_one(self, tokenizer):
        developer = Message(role="developer", content="Be brief.")
        row = encode(tokenizer, CHATML, developer, USER, HELLO)
        assert row.token_ids == encode(tokenizer, CHATML, SYSTEM, USER, HELLO).token_ids
        assert "developer_as_system" in row.notes
        named = "{% if messages[0]['role'] == 'developer' %}{{ 'D' }}{% endif %}" + CHATML
        row = encode(tokenizer, named, developer, USER, HELLO)
        assert tokenizer.decode(row.token_ids).startswith("D<|im_start|>developer\n")
        assert not row.notes


class TestRefusals:
    """What cannot be told apart is left out, with the reason, and does not stop a run."""

    def test_a_refused_example_is_left_out_and_quoted(self, tokenizer):
        tokenizer.chat_template = GEMMA
        examples = [Example(messages=(SYSTEM, USER, HELLO), source="a.jsonl:3"), Example(messages=(USER, HELLO), source="b")]
        pool = encode_examples(tokenizer, examples, max_length=100)
        assert [row.example.source for row in pool.examples] == ["b"]
        assert pool.left_out[0].reason == "refused"
        assert "System role not supported" in pool.left_out[0].words

    def test_a_template_that_refuses_all_examples_ends_the_run_with_the_first(self, tokenizer):
        tokenizer.chat_template = GEMMA
        examples = [Example(messages=(SYSTEM, USER, HELLO), source=f"a.jsonl:{i}") for i in (3, 4)]
        with pytest.raises(ChatTemplateError, match=r"^a\.jsonl:3: the chat template refuses .*System role not supported"):
            encode_examples(tokenizer, examples, max_length=100)

    @pytest.mark.parametrize(
        ("template", "words"),
        [
            (CHATML.replace("m['content']", "m['content'] if m['role'] == 'user' else ''"), "writes an assistant turn 0 times"),
            (CHATML.replace("m['content']", "'> ' + m['content'] + m['content']"), "writes an assistant turn 2 times"),
            (
                "{{ messages[-1]['content'] | length if messages[-1]['role'] == 'assistant' else 'none' }}"
                + CHATML.replace("m['content']", "m['content'] | upper"),
                "changes the turns before an answer|0 times",
            ),
            (
                "{% set x %}{% generation %}abc{% endgeneration %}{% endset %}" + CHATML,
                "markers of the chat template do not enclose",
            ),
        ],
        ids=["dropped", "doubled", "entangled", "markers in a set"],
    )
    def test_ambiguity_is_refused_with_the_reason(self, tokenizer, template, words):
        row = encode(tokenizer, template, USER, Message(role="assistant", content="hello"))
        assert isinstance(row, LeftOut)
        assert row.reason == "ambiguous"
        assert re.search(words, row.words)

    def test_tokens_that_decode_to_another_text_are_refused(self, tokenizer, monkeypatch):
        tokenizer.chat_template = CHATML
        texts = map(str, itertools.count())
        monkeypatch.setattr(type(tokenizer), "decode", lambda self, ids, **options: next(texts))
        with pytest.raises(ChatTemplateError, match="decode to another text"):
            encode_chat(tokenizer, (USER, HELLO))


def test_a_plain_text_is_learned_as_a_whole_and_ended(tokenizer):
    text = Message(role="assistant", content="Once upon a time")
    row = encode(tokenizer, "{{ raise_exception('no chat') }}", text, is_plain_text=True)
    assert tokenizer.decode(row.token_ids) == "Once upon a time<|endoftext|>"
    assert row.loss_mask == [False] + [True] * (len(row.token_ids) - 1)
    with pytest.raises(ChatTemplateError, match="a plain text has no prompt"):
        ChatEncoder(tokenizer, max_length=10).encode_prompt(row.example)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_stops_a_run(tokenizer, family):
    tokenizer.chat_template = FAMILIES[family]
    thoughtful = Message(role="assistant", content="<think>a</think>Hello!")
    talks = [(USER, HELLO), (USER, thoughtful, AGAIN, GOODBYE), (SYSTEM, USER, HELLO), (USER, CALL, RESULT, GOODBYE), (HELLO,)]
    pool = encode_examples(tokenizer, [Example(messages=talk, source="a") for talk in talks], max_length=100)
    assert len(pool.examples) + len(pool.left_out) == len(talks)
    assert len(pool.examples) >= 2
