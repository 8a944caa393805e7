"""The presets of the group ``regularizer``, from their files."""

import drpt
from drpt.app.groups import choices
from drpt.app.paths import config_folder


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Presets",
        "",
        "`drpt train regularizer=NAME`, or `drpt.regularizer(NAME)` in Python. Every key can be changed: "
        "`regularizer=layerwise_hull regularizer.strength=0.25`. `regularizer=glob(*)` in a sweep is all of them.",
        "",
        "| preset | what it is |",
        "| --- | --- |",
    ]
    for name in choices()["regularizer"]:
        text = (config_folder() / "regularizer" / f"{name}.yaml").read_text()
        comment = next((line for line in text.splitlines() if line.startswith("# ") and "@package" not in line), "")
        lines.append(f"| `{name}` | {comment.removeprefix('# ').replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + f"\n\nVersion {drpt.__version__}.\n"
