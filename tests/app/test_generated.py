"""Random commands end in one of two ways: refused in words that name an option, or composed; and what is composed trains."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import Container, ListConfig, OmegaConf

from drpt.app.command import read_command
from drpt.app.compose import compose_run
from drpt.app.groups import choices
from drpt.app.launch import launch
from drpt.app.options import all_options
from drpt.app.prepare import check_command
from drpt.app.words import word
from drpt.tasks.errors import ConfigError
from drpt.tasks.run_spec import RunSpec
from tests.app.generated import commands, trainable

# Words of other people's machinery, which no message should need.
FOREIGN = re.compile(
    r"Traceback|omegaconf|OmegaConf|hydra\.|ListConfig|DictConfig|NoneType|full_key|object_type|[A-Za-z]Exception|<class|\blambda\b|"
    r"mismatched input|token recognition|no viable|extraneous|LexerNo|__init__|could not be converted|unhashable|not iterable|"
    r"NotImplemented|object has no|unexpected keyword|positional argument|invalid literal|Could not override|Could not delete|"
    r"Config group override|Glob\(|Sweep\(|QuotedString|raised while resolving|Interpolation to parent|Error merging"
)
PARTS = {part for option in all_options() for part in (option, option.split(".")[0])}


def check_refusal(words: list[str], message: str) -> None:
    """It names an option or a group that was typed, or the word itself, and speaks our language."""
    found = FOREIGN.search(re.sub(r"hydra\.[\w.]*=", "", message))
    typed = [word for word in words if found and found[0] in word]
    assert not found or typed, (words, message)
    assert message.strip()
    named = [word.lstrip("+~").partition("=")[0] or word for word in words]
    assert any(name and name in message for name in named) or any(part in message for part in PARTS), (words, message)
    assert len(message) < 6000, (words, message)


def check_words_count(words: list[str]) -> None:
    """What a command without a sweep says is what is composed: no word is dropped."""
    command = read_command(words, is_sweep=False)
    config = compose_run(words)
    last = {said.typed.key: said for said in command if not said.is_base and said.typed.prefix != "~"}
    for option, said in last.items():
        if any(other != option and (other.startswith(f"{option}.") or option.startswith(f"{other}.")) for other in last):
            continue  # words about one thing, which add up
        value = said.override.value()
        value = getattr(value, "text", value)
        if isinstance(value, dict):
            continue  # added to what is there
        node, found = config, None
        for part in option.split("."):
            node = node._get_node(int(part) if isinstance(node, ListConfig) else part)
        found = OmegaConf.to_container(node) if isinstance(node, Container) and not node._is_none() else node._value()
        assert found == value or str(found) == str(value), (words, option, found, value)


def end_of(words: list[str]) -> dict[str, RunSpec] | None:
    """The specifications of the jobs, or None where the command is refused."""
    try:
        return check_command(words)
    except ConfigError as error:
        check_refusal(words, str(error))
    except ValueError as error:  # of a source or a reward
        check_refusal(words, str(error))
    return None


def check_many(count: int, seed: int) -> int:
    """Of so many commands, the number that is composed."""
    ends = [(words, end_of(words)) for words in commands(count, seed)]
    for words, specs in ends:
        if specs is not None:
            assert specs, words
            assert all(isinstance(spec, RunSpec) for spec in specs.values()), words
            if not {"-m", "--multirun"} & set(words):
                assert len(specs) == 1
                check_words_count(words)
    return sum(specs is not None for _, specs in ends)


def trained(folder: Path, words: list[str]) -> bool:
    """Train two steps; False where the words are refused, since two of them do not fit, or there is nothing to learn from."""
    try:
        launch([*words, word("runs_folder", str(folder))])
    except ValueError as error:
        check_refusal(words, str(error))
        return False
    (summary,) = folder.glob("s/*/summary.json")
    found = json.loads(summary.read_text())
    if str(found.get("error")).startswith(("VanishedUpdatesError", "NoSignalError")):  # a random model's rewards may be alike
        return False
    assert (found["status"], found.get("steps")) == ("finished", 2), (words, found.get("error"))
    return True


def test_there_is_something_to_draw_from():
    assert len(choices()) > 10
    assert len(all_options()) > 80
    assert list(commands(20, seed=1)) == list(commands(20, seed=1))


@pytest.mark.parametrize("seed", range(3))
def test_commands_are_refused_in_words_or_composed(seed):
    assert 5 <= check_many(50, seed) <= 45


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_commands_are_refused_in_words_or_composed(seed):
    assert 5 <= check_many(50, seed) <= 45


def test_what_is_composed_trains(tmp_path):
    assert sum(trained(tmp_path / str(number), words) for number, words in enumerate(trainable(17, seed=0))) >= 15


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
def test_much_of_what_is_composed_trains(tmp_path, seed):
    assert sum(trained(tmp_path / str(number), words) for number, words in enumerate(trainable(19, seed))) >= 15
