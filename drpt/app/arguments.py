"""The argument parser of `drpt`: commands, their options, and checks of option values."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import drpt

_DESCRIPTION = """\
drpt: data-regularized post-training of language models.

Target data is scarce and specifies exactly what you want; general data is abundant but only roughly aligned with it. drpt
trains on the target data, while the gradients of general examples decide which update directions are allowed.
"""
_EXAMPLES = """\
examples:
  drpt train regularizer=layerwise_subset regularizer.strength=0.5     one run on the embedded model
  drpt train -m regularizer=full,layerwise_subset seed=0,1,2           a sweep: six runs, then table, chart and page
  drpt resume                                                          continue the newest sweep
  drpt table --format latex                                            the newest sweep's table for a paper
  drpt outcome runs/first                                              bias and variance of each loss over seeds
  drpt probe data.source.target=gcd data.target_rows=2                 bias–variance chart at one model
  drpt explain layerwise_hull                                          formula, related methods, cost, limits of its strength
  drpt doctor                                                          what this machine can run, and what is missing

`drpt COMMAND --help` explains a command; `drpt train --help` lists every config group and its choices.
"""


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def build_parser(commands: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """Build the parser of the command line.

    Args:
        commands: Function of each command by name; it takes the parsed options and returns the exit status.

    Returns:
        A parser whose options have ``run_command``.
    """
    parser = argparse.ArgumentParser(
        prog="drpt", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"drpt {drpt.__version__}")
    kinds = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    kinds.add_parser("train", help="run one job, or a sweep with -m", add_help=False)  # listed here; `main` handles it
    _add_sweep_commands(kinds, commands)
    _add_probe(kinds, commands["probe"])
    _add_explain(kinds, commands["explain"])
    doctor = kinds.add_parser(
        "doctor",
        help="show what this machine can run, and what is missing",
        description="Check the machine, the installed packages, the embedded model, the tracker's login and the browser.",
    )
    doctor.set_defaults(run_command=commands["doctor"])
    return parser


def _add_sweep_commands(kinds: _Commands, commands: Mapping[str, Callable[[argparse.Namespace], int]]) -> None:
    """Add the commands that take a sweep's folder."""
    resume = kinds.add_parser(
        "resume",
        help="continue a sweep",
        description="Run a sweep's commands again: finished jobs are skipped, interrupted and failed ones continue from their "
        "last checkpoint.",
    )
    table = kinds.add_parser(
        "table",
        help="print a sweep's table",
        description="One line for each regularizer and strength: mean ± standard error over seeds of held-out loss, perplexity "
        "and accuracy, the lowest loss of all evaluations, and the cost. Jobs that are unfinished or unreadable are listed "
        "below; the status is 1 if there are any.",
    )
    table.add_argument(
        "--format", default="text", choices=("text", "csv", "markdown", "latex"), help="format of the table; default: text"
    )
    report = kinds.add_parser(
        "report",
        help="write a sweep's table.csv, chart.png and report.html",
        description="Write table.csv, chart.png and report.html (one file that opens without a network) into a sweep's "
        "folder, and print the table. The status is 1 if a job is unfinished or a file cannot be written.",
    )
    outcome = kinds.add_parser(
        "outcome",
        help="split a sweep's held-out losses into bias and variance over seeds",
        description="Expected held-out cross-entropy of every regularizer = bias + variance over its replicates, which are "
        "finished runs that differ in their seed alone and thus in their scarce target examples. Variance is the mean KL "
        "divergence of the replicates from their normalised geometric mean; more target examples or a stronger regularizer "
        "would reduce it. Bias is the cross-entropy of that mean, which contains the entropy of the data (Heskes 1998). Both "
        "are corrected for the number of replicates by the jackknife; two are needed, five are better. The runs' checkpoints "
        "are needed. Writes outcome.json and outcome.png into the sweep's folder.",
        epilog="Example: drpt train -m regularizer=target_only,full,mix 'seed=range(5)' sweep=first; drpt outcome runs/first",
    )
    outcome.add_argument(
        "--logits-mib",
        type=_positive,
        default=512,
        help="largest memory in MiB for the logits of all replicates held at once; less is slower; default: 512",
    )
    for name, command in {"resume": resume, "table": table, "report": report, "outcome": outcome}.items():
        command.add_argument("folder", nargs="?", type=_path, help="folder of a sweep; default: the newest under --runs")
        command.add_argument("--runs", type=_path, default=Path("runs"), help="folder of all sweeps; default: runs")
        command.set_defaults(run_command=commands[name])


def _add_explain(kinds: _Commands, run_explain: Callable[[argparse.Namespace], int]) -> None:
    explain = kinds.add_parser(
        "explain",
        help="explain a regularizer: its formula, its cost and the limits of its strength",
        usage="drpt explain [PRESET] [group=choice] [key=value] …",
        description="Formula, related methods, source, products, limits of the strength, and the cost of each kind of layer, "
        "for a preset and overrides as for drpt train (drpt explain layerwise_hull finetune=full data.max_length=1024). "
        "Without arguments, a list of all sets.",
    )
    # Only for the help: `main` removes the overrides first, since they may stand in any order.
    explain.add_argument(
        "preset", nargs="?", metavar="PRESET", help="a regularizer, as in regularizer=PRESET; default: a list of all sets"
    )
    explain.add_argument(
        "words",
        nargs="*",
        metavar="group=choice, key=value",
        help="overrides as for drpt train; model, fine-tuning, rows and lengths decide the cost of a step",
    )
    explain.set_defaults(run_command=run_explain)


def _add_probe(kinds: _Commands, run_probe: Callable[[argparse.Namespace], int]) -> None:
    from drpt.analysis.probe_grid import FAMILIES, PARTITIONS, STANDARD

    rare = [name for name in FAMILIES if name not in STANDARD]
    probe = kinds.add_parser(
        "probe",
        help="measure bias and variance of every update rule at one model",
        usage="drpt probe [run=FOLDER [checkpoint=first|last|best|STEP]] [group=choice] [key=value] … [options]",
        description="One pass over a pool of general and target examples, then bias², variance and mean squared error of the "
        "update against the gradient of a disjoint target population, for every family, strength and partition. The model is "
        "that of a configuration, as for drpt train, or a trained one: run=FOLDER checkpoint=first, last (default), best, or "
        "a step from trainer.keep_steps. A regularizer given by regularizer=… is measured besides the families. Writes "
        "probe.html, probe.png and probe.json.",
    )
    probe.add_argument(
        "--rows", type=_rows, nargs="+", metavar="NxM", help="n and m of a step, such as 8x2 8x4; default: the data's"
    )
    probe.add_argument(
        "--pool", type=_even, default=128, help="examples of each kind (general, target, population); default: 128"
    )
    probe.add_argument(
        "--draws", type=_even, default=200, help="resampled steps, half of them from each half of the pool; default: 200"
    )
    probe.add_argument(
        "--width", type=_width, default=48, help="rows of each random matrix of the sketch, or exact; default: 48"
    )
    probe.add_argument(
        "--families",
        type=_families,
        nargs="+",
        default=STANDARD,
        metavar="NAME",
        help=f"families to measure: {', '.join(FAMILIES)}; or all; default: all but {', '.join(rare)}",
    )
    probe.add_argument(
        "--partitions", nargs="+", choices=PARTITIONS, default=list(PARTITIONS), help="partitions to measure; default: all"
    )
    probe.add_argument("--batch-tokens", type=_positive, default=384, help="tokens in a pass; default: 384")
    probe.add_argument("--seed", type=int, default=0, help="seed of the draws; default: 0")
    probe.add_argument("--runs", type=_path, default=Path("runs"), help="folder for results; default: runs")
    probe.add_argument("--out", type=_path, help="folder of this result; default: a new one under --runs")
    probe.set_defaults(run_command=run_probe)


def _path(text: str) -> Path:
    return Path(text).expanduser()  # shells do not expand the ~ in --runs=~/runs


def _positive(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least 1")
    return value


def _even(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 4 or value % 2:
        raise argparse.ArgumentTypeError(f"{text} must be even and at least 4, for two independent halves")
    return value


def _width(text: str) -> int | None:
    return None if text == "exact" else _positive(text)


def _rows(text: str) -> tuple[int, int]:
    general, _, target = text.partition("x")
    if not (general.isdigit() and target.isdigit() and int(general) and int(target)):
        raise argparse.ArgumentTypeError(f"{text} must have the form NxM, such as 8x2: general and target examples in a step")
    return int(general), int(target)


def _families(text: str) -> str:
    from drpt.analysis.probe_grid import FAMILIES
    from drpt.checks import did_you_mean

    if text not in (*FAMILIES, "all"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not known.{did_you_mean(text, FAMILIES)} Choices: {', '.join(FAMILIES)}, all"
        )
    return text
