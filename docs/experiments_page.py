"""The experiments: the question of each, and where it is answered."""

import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "experiments"


def readmes() -> Iterator[Path]:
    """The README of each experiment, in alphabetical order."""
    yield from sorted(FOLDER.glob("*/README.md"))


def images() -> Iterator[Path]:
    """Pictures that the READMEs show."""
    for readme in readmes():
        for name in re.findall(r"!\[[^\]]*\]\(([\w.-]+\.(?:png|svg))\)", readme.read_text()):
            yield readme.parent / name


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Experiments",
        "",
        "Each folder under `experiments/` answers one question and holds the command, the data and the figures. Numbers are "
        "printed from committed data.",
        "",
    ]
    for readme in readmes():
        title, body = readme.read_text().split("\n", 1)
        paragraph = body.strip().split("\n\n", 1)[0].replace("\n", " ")
        paragraph = re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", paragraph)  # links into the repository
        lines += [f"## {title.lstrip('# ')}", "", f"`experiments/{readme.parent.name}`", "", paragraph, ""]
        for name in re.findall(r"!\[([^\]]*)\]\(([\w.-]+\.(?:png|svg))\)", body)[:1]:
            lines += [f"![{name[0]}](experiments/{readme.parent.name}/{name[1]})", ""]
    return "\n".join(lines)
