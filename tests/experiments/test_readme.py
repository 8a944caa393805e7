"""Generated sections of READMEs: replaced between their marks, refused where the marks are missing or doubled."""

import re
from pathlib import Path

import pytest

import experiments
from experiments.readme import fill_section

_SECTION = "<!-- results: written by --report -->\n\nold\n\n<!-- end of results -->"


def test_a_section_is_replaced_and_the_rest_stays(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{_SECTION}\n\n<!-- judges: written -->\n\nkept\n\n<!-- end of judges -->\n")
    for _ in range(2):  # a second time changes nothing
        fill_section(readme, "results", "\n| a |\n")
        assert readme.read_text() == (
            "# Title\n<!-- results: written by --report -->\n\n| a |\n\n<!-- end of results -->\n\n"
            "<!-- judges: written -->\n\nkept\n\n<!-- end of judges -->\n"
        )


@pytest.mark.parametrize("text", ["# Title\n", f"{_SECTION}\n{_SECTION}\n"])
def test_a_readme_without_one_section_of_the_name_is_refused(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match=r"must have one section between <!-- results: … -->"):
        fill_section(readme, "results", "new")
    assert readme.read_text() == text


def test_every_generated_section_can_be_filled_again(tmp_path):
    texts = [path.read_text() for path in Path(experiments.__file__).parent.glob("*/README.md")]
    names = [re.findall(r"<!-- end of (\w+) -->", text) for text in texts]
    assert sum(map(len, names)) >= 9
    for text, sections in zip(texts, names, strict=True):
        readme = tmp_path / "README.md"
        readme.write_text(text)
        for name in sections:
            fill_section(readme, name, "new")
        assert readme.read_text().count("\n\nnew\n\n") == len(sections)
