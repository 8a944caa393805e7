"""Writes generated tables into an experiment's README; shared by all experiments.

A generated section stands between the marks ``<!-- NAME: … -->`` and ``<!-- end of NAME -->``.
"""

import re
from pathlib import Path

from drpt.files import write_atomically


def fill_section(readme: Path, name: str, text: str) -> None:
    """Replace the contents of a generated section.

    Args:
        readme: README that contains the section.
        name: Name of the section, such as ``results``.
        text: New contents in Markdown.

    Raises:
        ValueError: The README does not have the two marks of the section exactly once.
    """
    old = readme.read_text()
    found = re.findall(rf"(?s)(<!-- {name}: [^>]*-->\n).*?(\n<!-- end of {name} -->)", old)
    if len(found) != 1:
        raise ValueError(
            f"{readme} must have one section between <!-- {name}: … --> and <!-- end of {name} -->; it has {len(found)}."
        )
    start, end = found[0]
    before, _, rest = old.partition(start)
    write_atomically(readme, f"{before}{start}\n{text.strip()}\n{end}{rest.partition(end)[2]}")
