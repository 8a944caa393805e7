"""The documentation: it is built without a warning, its code runs, its commands are ones, and its pages fit their windows."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from drpt.app.key_reference import read_keys
from drpt.app.prepare import check_command
from tests.app.test_report_page import CHROMIUM, opened

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FILES = ("mine.jsonl", "pool.jsonl", "pairs.jsonl")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_there(site):
    for page in ("index", "start", "architecture", "reference/keys", "reference/sets", "reference/commands", "reference/api"):
        assert (site / f"{page}.html").exists(), page
    keys = (site / "reference/keys.html").read_text()
    assert "regularizer.strength" in keys
    assert "trainer.max_steps" in keys
    assert "sample_losses" in (site / "reference/api.html").read_text()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; CI installs it")
def test_pages_open_from_the_disk_and_fit(site):
    for name in ("index", "concepts/feasible_sets", "reference/keys", "architecture"):
        with opened(site / f"{name}.html") as page:
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            broken = "[...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src)"
            assert page.evaluate(broken) == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "README.md" and blocks(page, "python")], ids=lambda p: p.stem
)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(page, "python"):
        if not block.startswith("--8<--"):  # code of a test, which runs there
            exec(compile(block, page.name, "exec"), names)


def commands():
    found = {}
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ drpt train"):
                    words = shlex.split(line.removeprefix("$ drpt train"), comments=True)
                    found[" ".join(words)] = words
    return found


@pytest.mark.parametrize("words", commands().values(), ids=commands())
def test_commands_are_accepted(words, tmp_path, monkeypatch):
    """As `drpt train` does before a model is loaded; files that a reader has are made up here."""
    monkeypatch.chdir(tmp_path)
    row = {"prompt": "Why?", "response": "Because.", "chosen": "Yes.", "rejected": "No.", "question": "Who?"}
    line = json.dumps(row | {"answers": {"text": ["Me."]}}) + "\n"
    for name in FILES:
        Path(name).write_text(line * 4)
    if any(word.startswith(("model=hub", "data=hub", "data/target=hub", "data=gsm8k", "-h")) for word in words):
        pytest.skip("asks the hub")
    if any("JOB" in word or "my_" in word for word in words):
        pytest.skip("names what only the reader has")
    assert check_command(words)


def test_every_key_is_explained():
    unexplained = [key.name for key in read_keys() if not (key.meaning or key.choices)]
    assert unexplained == []
