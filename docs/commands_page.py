"""The commands with their options, from the parser of the command line."""

import argparse

from drpt.app.arguments import build_parser
from drpt.app.cli import _COMMANDS

# Hydra reads these words, not the parser.
TRAIN = """usage: drpt train [-m] [group=choice …] [key=value …] [+key=value …] [~key …]

  -m             a sweep: one job for each combination of values, key=a,b,c
  group=choice   a file of that group, such as regularizer=layerwise_hull
  key=value      another value of a key
  +key=value     a key that is not there yet, such as an argument of a class of yours
  ~key           a key that is taken out
  --help [KEY]   all groups with their choices, or one key"""


def render() -> str:
    """The page in Markdown."""
    lines = [
        "# Commands",
        "",
        "The exit status is 0 when everything is done, 1 when a job or a file failed, 2 for a mistake in the command, and 128 "
        "plus the signal's number when a signal ended the command.",
        "",
    ]
    parser = build_parser(_COMMANDS)
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help for action in subparsers._choices_actions}
    for name, command in subparsers.choices.items():
        lines += [f"## `drpt {name}`", "", _sentence(helps.get(name) or command.description or ""), "", "```text"]
        usage = TRAIN if name == "train" else command.format_help().strip()
        lines += [usage, "```", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""
