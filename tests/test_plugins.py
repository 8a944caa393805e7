"""Classes that a configuration names: what is built, and that nothing is called before it is known to fit."""

import pytest

from drpt.plugins import build_plugin, import_named


class Speaks:
    """What the tests below ask for."""

    def __init__(self, *, word, loud=False):
        if not isinstance(word, str):
            raise TypeError("word must be a text")
        if word == "":
            raise ValueError("word='' must not be empty.")
        if word == "nested":
            raise ValueError("word.inner=3 is not known.")
        if word == "full":
            raise ValueError("test.node.word=full is taken.")
        if word == "machine":
            raise ValueError("no loudspeaker here.")
        self.text = word.upper() if loud else word

    def speak(self):
        return self.text


class Silent:
    """Without a constructor and without the method."""


class Plain:
    """Without a constructor."""

    def speak(self):
        return "plain"


class Child(Speaks):
    """Inherits its constructor."""


class Anything:
    """Takes any key."""

    def __init__(self, **keys):
        self.keys = keys

    def speak(self):
        return str(self.keys)


CALLED = []


def function(**keys):
    CALLED.append(keys)


def build(name, **keys):
    node = {"_target_": f"tests.test_plugins.{name}", **keys}
    return build_plugin("test.node", node, methods=("speak",), protocol="tests.Speaker")


def test_the_class_is_built_with_its_keys():
    assert build("Speaks", word="a").speak() == "a"
    assert build("Speaks", word="a", loud=True).speak() == "A"
    assert build("Child", word="b").speak() == "b"
    assert build("Plain").speak() == "plain"


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (
            "Nobody",
            {},
            r"^test\.node\._target_=tests\.test_plugins\.Nobody: cannot be imported \(.*has no attribute 'Nobody'\)",
        ),
        ("sub.Nobody", {}, r"^test\.node\._target_=tests\.test_plugins\.sub\.Nobody: cannot be imported"),
        ("Silent", {}, r"^test\.node\._target_=.*Silent: not a class with the methods speak of tests\.Speaker"),
        ("function", {"word": "a"}, r"^test\.node\._target_=.*function: not a class"),
        ("Speaks", {"wrd": "a"}, r"^test\.node\.wrd is not known\. Did you mean 'word'\? Choices: word, loud"),
        ("Child", {"wrd": "a"}, r"^test\.node\.wrd is not known\. Did you mean 'word'\?"),
        ("Plain", {"word": "a"}, r"^test\.node\.word is not known\. It takes none"),
        ("Speaks", {}, r"^test\.node\.word is needed: add \+test\.node\.word=…$"),
        ("Speaks", {"word": 3}, r"^test\.node: word must be a text"),
    ],
)
def test_what_cannot_be_built_is_explained(name, keys, message):
    with pytest.raises(ValueError, match=message):
        build(name, **keys)
    assert CALLED == []


@pytest.mark.parametrize("target", ["", "Speaks", "None", ".Speaks", "tests.test_plugins.", "no such module.X"])
def test_a_path_that_is_none_is_explained(target):
    with pytest.raises(ValueError, match=r"^test\.node\._target_=.*cannot be imported"):
        build_plugin("test.node", {"_target_": target}, methods=("speak",), protocol="tests.Speaker")


def test_a_missing_path_is_explained():
    with pytest.raises(ValueError, match=r"^test\.node\._target_ is needed: the dotted path of a class like tests\.Speaker"):
        build_plugin("test.node", {"word": "a"}, methods=("speak",), protocol="tests.Speaker")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", r"^test\.node\.word='' must not be empty\.$"),
        ("nested", r"^test\.node\.word\.inner=3 is not known\.$"),
        ("full", r"^test\.node\.word=full is taken\.$"),
        ("machine", r"^test\.node: no loudspeaker here\.$"),
    ],
)
def test_what_a_class_says_of_its_keys_is_given_their_full_names(word, message):
    with pytest.raises(ValueError, match=message) as error:
        build("Speaks", word=word)
    assert isinstance(error.value.__cause__, ValueError)


def test_a_class_that_takes_any_key_gets_them_all():
    assert build("Anything", word="a", volume=3).keys == {"word": "a", "volume": 3}


def test_a_module_that_fails_while_it_is_imported_is_named_with_the_line(tmp_path, monkeypatch):
    (tmp_path / "breaks.py").write_text("x = 1\nlen(x)\n\n\nclass Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=r"^test\.node=breaks\.Thing: cannot be imported \(TypeError: .*, in breaks\.py, line 2\)"
    ):
        import_named("test.node", "breaks.Thing")


def test_a_module_that_is_not_on_the_path_is_told_how_to_get_there():
    with pytest.raises(ValueError, match=r"^test\.node=my_sets\.Mine: .*add the folder that holds my_sets\.py to PYTHONPATH"):
        import_named("test.node", "my_sets.Mine")
