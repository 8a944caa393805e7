"""Words of a command: a text stays the text that was typed, whatever Hydra would make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from drpt.app.words import in_shell, literal, literal_values, read_word, spelled, word
from drpt.kinds import Kind, kind_of
from drpt.tasks.errors import ConfigError

# Letters that mean something to Hydra, OmegaConf, YAML or a shell, and some that do not.
TEXTS = st.text(st.sampled_from("ab1e0._-+/%\\ \t\n,()[]{}:=~'\"#&;!?*@|$äß文😀"), max_size=12)


def value_of(text, kind, *, is_sweep=False):
    override = spelled(read_word(f"key={text}"), kind, is_sweep=is_sweep).parse()
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else override.value()


@given(TEXTS)
def test_what_we_compose_ourselves_is_read_as_it_is(text):
    config = OmegaConf.create({"key": read_word(word("key", text)).parse().value(), "a": 1, "b": 2, "1": 3})
    assert config.key == text


@given(st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3)))
def test_literal_values_refer_to_nothing(value):
    config = OmegaConf.create({"key": literal_values(value), "a": 1, "b": 2})
    assert OmegaConf.to_container(config, resolve=True)["key"] == value


def test_a_reference_is_escaped():
    assert literal(r"${a} \${b}") == r"\${a} \\\${b}"


@pytest.mark.parametrize(
    "text",
    [
        *("2026_11_27", "1.10", "1e10", "true", "False", "null", "nan", "-inf", "0x10", "007", "-x", "%d"),
        *("~/p.jsonl", "a=b.jsonl", "it's", '5" disk', "größe", "文", "a b", " a ", "a#b&c;d!", "a\\b", "C:\\x\\"),
        *("[a", "a]", "[a].jsonl", "{x}.json", "f(x).jsonl", "run(1)", "(a)", "'a'b'", "'", "a:b", "a@b", "a|b?*"),
    ],
)
def test_a_text_stays_as_typed(text):
    assert value_of(text, kind_of(str)) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("'1.10'", "1.10"), ('"a, b"', "a, b"), (r"a\,b", "a,b"), ("''", ""), ("", ""), ("${seed}", "${seed}")],
)
def test_quotes_escapes_and_references_are_hydras(text, value):
    assert value_of(text, kind_of(str)) == value


def test_null_is_null_where_it_is_a_choice():
    assert value_of("null", kind_of(str | None)) is None
    assert value_of("'null'", kind_of(str | None)) == "null"
    assert value_of("null", kind_of(str)) == "null"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e10,main", ["'1e10'", "'main'"]),
        ("~/a.jsonl,~/b.jsonl", ["'~/a.jsonl'", "'~/b.jsonl'"]),
        ("a=1,größe", ["'a=1'", "'größe'"]),
        ("'a,b',c", ["'a,b'", "'c'"]),
        ("f(1,2),[x", ["'f(1,2)'", "'[x'"]),
        ("range(2)", ["0", "1"]),
    ],
)
def test_commas_separate_the_values_of_a_sweep(text, values):
    assert value_of(text, kind_of(str), is_sweep=True) == values


def test_items_of_lists_and_values_of_mappings_are_texts_where_they_should_be():
    assert value_of("[1.10,2,'3']", kind_of(list[str])) == ["1.10", "2", "3"]
    assert value_of("{a:1.10}", kind_of(dict[str, str])) == {"a": "1.10"}
    assert value_of("[1.10,2]", kind_of(list[float])) == [1.1, 2]
    assert value_of("1e3", Kind()) == 1000.0


def test_where_there_is_no_sweep_the_ways_out_are_shown_in_quotes():
    with pytest.raises(
        ConfigError, match=r"^key=a,b gives several values: for a sweep, use drpt train -m; .*for one text, \"key='a,b'\"\.$"
    ):
        value_of("a,b", kind_of(str))
    with pytest.raises(ConfigError, match=r"for a list, \"key=\[1,2\]\"\.$"):
        value_of("1,2", kind_of(list[int]))


@pytest.mark.parametrize("text", ["full", "=x", "+", "~", "~=", ""])
def test_what_is_no_word_is_refused(text):
    with pytest.raises(ConfigError, match=r"write option=value\.$"):
        read_word(text)


@pytest.mark.parametrize(
    "key", ["data/general.yaml", "data/", "/data", "data//general", "a:b", "1a", "data/1", "a/b.c/d", "data/general.yaml@x"]
)
def test_names_that_lead_nowhere_are_refused_in_our_words(key):
    with pytest.raises(ConfigError, match=r"there is no option .* written with dots .* groups with slashes"):
        read_word(f"{key}=1")


def test_words_are_shown_as_a_shell_takes_them():
    assert in_shell("seed=1") == "seed=1"
    assert in_shell("sweep='a b'") == "\"sweep='a b'\""
    assert in_shell("sweep=${a}") == "'sweep=${a}'"
