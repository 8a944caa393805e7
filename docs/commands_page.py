"""The commands with their options, from the parser of the command line."""

import argparse

from drpt.app.arguments import build_parser
from drpt.app.cli import _COMMANDS


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Commands",
        "",
        "`drpt train` takes Hydra's words, `group=choice` and `key=value`; `drpt train --help` lists all groups. The other "
        "commands are below. The exit status is 0 when everything is done, 1 when a job or a file failed, 2 for a mistake in "
        "the command, and 128 plus the number of a signal that ended it.",
        "",
    ]
    parser = build_parser(_COMMANDS)
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help for action in subparsers._choices_actions}
    for name, command in subparsers.choices.items():
        lines += [f"## `drpt {name}`", "", _sentence(helps.get(name) or command.description or ""), "", "```text"]
        lines += [command.format_help().strip(), "```", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""
