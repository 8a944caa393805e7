"""Every key of the configuration."""

from itertools import groupby

from drpt.app.key_reference import Key, read_keys


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Configuration keys",
        "",
        "Set on the command line as `key=value`. A key that does not exist, or a value that breaks its rule, is refused before "
        "a model is loaded. `drpt train --cfg job` prints the configuration that a command leads to, and "
        "`drpt train --help KEY` one of these entries. Sources, rewards and judges are classes (`_target_`) with keys of their "
        "own: their arguments.",
        "",
    ]
    for section, keys in groupby(sorted(read_keys(), key=lambda key: key.section), key=lambda key: key.section):
        lines += [f"## {section or 'The run'}", "", "| key | default | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{key.name}` | {_default(key)} | {_meaning(key)} |" for key in keys]
        lines.append("")
    return "\n".join(lines)


def _default(key: Key) -> str:
    return key.default.replace("|", "\\|")


def _meaning(key: Key) -> str:
    choices = " ".join(f"`{choice}`" for choice in key.choices)
    text = "; ".join(filter(None, (key.meaning, choices)))
    return f"{text} ({key.kind})".replace("|", "\\|")
