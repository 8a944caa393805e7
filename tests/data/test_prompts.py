"""Prompts of every phase, and the numbers of the steps to come."""

import re

import pytest

from drpt.data.chat import ChatTemplateError, encode_chat
from drpt.data.example import Example, Message
from drpt.data.pools import Pools
from drpt.data.prompts import NoUsablePromptError, PromptData, StepNumbers
from drpt.data.spec import DataSpec
from drpt.models.tiny import byte_tokenizer
from tests.data.chat_templates import CHATML, UNENDED

TOKENIZER = byte_tokenizer()


def example(number, *, letters=4, pool="general"):
    messages = (Message(role="user", content=f"{number:02d}" + "x" * (letters - 2)), Message(role="assistant", content="yes"))
    return Example(messages=messages, source=f"{pool}.jsonl:{number}")


def pools(**changes):
    sizes = {"general": 10, "target": 4, "stopping": 2, "evaluation": 3}
    members = {name: [example(i, pool=name) for i in range(size)] for name, size in sizes.items()}
    return Pools(**(members | changes), counts={"general_repeated": 5})


PROMPT_TOKENS = len(encode_chat(TOKENIZER, example(0).messages)[2])


def spec_of(*, max_length=PROMPT_TOKENS + 8, target_rows=2):
    return DataSpec(
        name="test",
        source={"_target_": "none"},
        num_target=4,
        num_general=None,
        num_eval=3,
        general_rows=2,
        target_rows=target_rows,
        max_length=max_length,
        packing=False,
        split_seed=0,
    )


def prompts(drawn=None, *, max_length=PROMPT_TOKENS + 8, max_new_tokens=8, num_prompts=3, target_rows=2, seed=0):
    spec = spec_of(max_length=max_length, target_rows=target_rows)
    return PromptData(drawn or pools(), TOKENIZER, spec, max_new_tokens=max_new_tokens, num_prompts=num_prompts, seed=seed)


def warnings_under(template, caplog):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    PromptData(pools(), tokenizer, spec_of(max_length=200), max_new_tokens=8, num_prompts=3, seed=0)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_template_that_ends_no_turn_is_said_with_its_remedy(caplog):
    (warning,) = warnings_under(UNENDED, caplog)
    assert "does not end the answers to 19 of 19 prompts with a special token" in warning
    assert "(<|im_end|>), responses end only at rollout.max_tokens" in warning
    assert "{{ eos_token }}" in warning
    assert "model.chat_template=plain" in warning


def test_of_a_template_that_ends_turns_nothing_is_said(caplog):
    assert warnings_under(CHATML, caplog) == []


def sources(encoded):
    return [one.example.source for one in encoded]


def test_prompts_are_encoded_as_generation_sees_them():
    one = prompts().evaluation[0]
    assert TOKENIZER.decode(one.prompt_ids) == "<|im_start|>user\n00xx<|im_end|>\n<|im_start|>assistant\n"
    assert one.token_ids[: len(one.prompt_ids)] == one.prompt_ids
    assert sources(prompts().evaluation) == [f"evaluation.jsonl:{i}" for i in range(3)]
    assert sources(prompts().stopping) == ["stopping.jsonl:0", "stopping.jsonl:1"]


# What SmolLM2's tokenizer has: a system turn of its own where there is none.
SMOLLM2_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("template", [None, SMOLLM2_TEMPLATE])
def test_prompts_without_responses_are_encoded_as_those_with_them(template, monkeypatch):
    if template is not None:
        monkeypatch.setattr(TOKENIZER, "chat_template", template)
    whole = [example(i) for i in range(10)]
    alone = [Example(messages=(*one.prompt, Message(role="assistant", content="")), source=one.source) for one in whole]
    given, bare = (
        prompts(pools(**dict.fromkeys(("general", "target", "stopping", "evaluation"), members)), max_length=256)
        for members in (whole, alone)
    )
    assert [one.prompt_ids for one in bare.general(0)] == [one.prompt_ids for one in given.general(0)]
    assert [one.prompt_ids for one in bare.evaluation] == [one.prompt_ids for one in given.evaluation]
    assert [one.prompt_ids for one in bare.target(0)] == [one.prompt_ids for one in given.target(0)]
    assert TOKENIZER.decode(bare.evaluation[0].prompt_ids).endswith("user\n00xx<|im_end|>\n<|im_start|>assistant\n")


def test_a_draw_has_distinct_prompts_and_an_epoch_asks_each_once():
    data = prompts()
    draws = [sources(data.general(draw)) for draw in range(3)]
    assert [len(draw) for draw in draws] == [3, 3, 3]
    assert len({source for draw in draws for source in draw}) == 9  # of ten: the rest of an epoch is left out
    assert len(set(sources(data.target(0)) + sources(data.target(1)))) == 4


def test_draws_are_a_function_of_seed_and_number():
    later = prompts()
    assert sources(later.general(7)) == sources(prompts().general(7))  # whatever was asked before
    assert sources(prompts(seed=1).general(0)) != sources(prompts().general(0))
    assert sources(later.target(0)) == sources(prompts().target(0))


def test_prompts_without_room_for_a_response_are_left_out_and_counted():
    long = [example(i, letters=4 + (i >= 7)) for i in range(10)]  # three are a token too long
    data = prompts(pools(general=long, evaluation=[example(0), example(1, letters=5)]))
    assert data.counts == {
        "general_repeated": 5,
        "general_too_long": 3,
        "target_too_long": 0,
        "stopping_too_long": 0,
        "evaluation_too_long": 1,
    }
    assert len(data.evaluation) == 1
    assert {int(source.rpartition(":")[2]) for draw in range(2) for source in sources(data.general(draw))} <= set(range(7))


@pytest.mark.parametrize(
    ("pool", "needed"),
    [("general", 3), ("target", 2), ("evaluation", 1)],
)
def test_too_few_prompts_with_room_are_an_error(pool, needed):
    long = [example(i, letters=5) for i in range(4)]
    kept = [example(i) for i in range(needed - 1)]
    message = (
        f"data.max_length={PROMPT_TOKENS + 8}: only {needed - 1} prompts of the {pool} pool leave room for a response of 8 "
        f"tokens (4 are too long), but {needed} are needed. Raise data.max_length"
    )
    with pytest.raises(NoUsablePromptError, match=re.escape(message)):
        prompts(pools(**{pool: kept + long}))
    prompts(pools(**{pool: [*kept, example(9), *long]}))  # one more is enough


def test_no_stopping_prompts_are_needed():
    assert prompts(pools(stopping=[])).stopping == []


def test_a_template_that_refuses_an_example_names_it():
    messages = (Message(role="user", content="?"), Message(role="assistant", content="!"))
    broken = byte_tokenizer()
    broken.chat_template = "{{ raise_exception('no such turn') }}"
    drawn = pools(general=[Example(messages=messages, source="a.jsonl:7")] * 3)
    spec = DataSpec(
        name="test",
        source={"_target_": "none"},
        num_target=4,
        num_general=None,
        num_eval=3,
        general_rows=2,
        target_rows=2,
        max_length=64,
        packing=False,
        split_seed=0,
    )
    with pytest.raises(ChatTemplateError, match=r"^a\.jsonl:7: the chat template refuses"):
        PromptData(drawn, broken, spec, max_new_tokens=8, num_prompts=3, seed=0)


def test_step_numbers_go_on_after_the_steps_taken():
    taken = 0
    numbers = StepNumbers(5, taken=lambda: taken)
    assert (len(numbers), list(numbers)) == (5, [0, 1, 2, 3, 4])
    taken = 3
    state = numbers.state_dict()
    resumed = StepNumbers(5, taken=lambda: 3)
    resumed.load_state_dict(state)
    assert (state, len(resumed), list(resumed)) == ({"step": 3}, 5, [3, 4])
