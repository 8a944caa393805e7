"""What may be typed after `drpt`: commands, their options, and the kinds of their values."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import drpt

_DESCRIPTION = """\
drpt: data-regularized post-training of language models.

Target data is scarce and says exactly what you want; general data is abundant and only roughly aligned. drpt trains on the
target while general examples' gradients decide which update directions are allowed.
"""
_EXAMPLES = """\
examples:
  drpt train regularizer=layerwise_subset regularizer.strength=0.5     one run on the embedded model
  drpt train -m regularizer=full,layerwise_subset seed=0,1,2           a sweep: six runs, then table, chart and page
  drpt resume                                                          go on with the newest sweep where it stopped
  drpt table --format latex                                            the newest sweep's table for a paper
  drpt outcome runs/first                                              what of each loss is bias and what is variance over seeds
  drpt probe data.source.target=gcd data.target_rows=2                 the bias–variance chart of one model
  drpt explain layerwise_hull                                          formula, relatives, cost, ends of its strength
  drpt doctor                                                          what this machine can run, and what is missing

`drpt COMMAND --help` tells more; `drpt train --help` lists every group and option.
"""


def build_parser(commands: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
        commands: What each command runs, by its name; it is given the options, and returns the exit status.

    Returns:
        A parser whose options have ``run_command``.
    """
    parser = argparse.ArgumentParser(
        prog="drpt", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"drpt {drpt.__version__}")
    kinds = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    kinds.add_parser("train", help="one run, or a sweep with -m", add_help=False)  # for the list; see main
    resume = kinds.add_parser(
        "resume",
        help="go on with a sweep where it stopped",
        description="Run a sweep's commands again: finished jobs are skipped, interrupted and failed ones "
        "go on from their last checkpoint.",
    )
    table = kinds.add_parser(
        "table",
        help="print a sweep's table",
        description="One line a regularizer and strength: mean ± standard error over seeds of held-out loss, perplexity and "
        "accuracy, the lowest loss of all evaluations, and the cost. Below it stands every job that is not finished or cannot "
        "be read; the status is 1 where there is one.",
    )
    table.add_argument("--format", default="text", choices=("text", "csv", "markdown", "latex"), help="default: text")
    report = kinds.add_parser(
        "report",
        help="write a sweep's table.csv, chart.png and report.html",
        description="Write table.csv, chart.png and report.html (one file that opens without a network) into a sweep's "
        "folder, and print the table. The status is 1 where a job is not finished, or a file cannot be written.",
    )
    outcome = kinds.add_parser(
        "outcome",
        help="split a sweep's held-out losses into bias and variance over seeds",
        description="Expected held-out cross-entropy of every regularizer = bias + variance over its replicates: finished runs "
        "that differ in their seed alone, which redraws the scarce target examples. Variance is the mean KL divergence of the "
        "replicates from their normalised geometric mean: what more target examples or a stronger regularizer would take away. "
        "Bias is that mean's cross-entropy, which contains the entropy of the data (Heskes 1998). Both are corrected for the "
        "number of replicates by the jackknife; two are needed, five are better. Needs the runs' checkpoints; writes "
        "outcome.json and outcome.png into the sweep's folder.",
        epilog="Example: drpt train -m regularizer=target_only,full,mix 'seed=range(5)' sweep=first; drpt outcome runs/first",
    )
    outcome.add_argument(
        "--logits-mib",
        type=_positive,
        default=512,
        help="most memory for the logits held at once, of all replicates together; less takes longer; default: 512",
    )
    for name, command in {"resume": resume, "table": table, "report": report, "outcome": outcome}.items():
        command.add_argument("folder", nargs="?", type=_path, help="a sweep's folder; default: the newest under --runs")
        command.add_argument("--runs", type=_path, default=Path("runs"), help="where sweeps are; default: runs")
        command.set_defaults(run_command=commands[name])
    _add_probe(kinds, commands["probe"])
    explain = kinds.add_parser(
        "explain",
        help="what a regularizer is, what it costs, and where its strength leads",
        usage="drpt explain [PRESET] [group=choice] [key=value] …",
        description="Formula, relatives, source, products needed, what the ends of the strength lead to, and what each kind of "
        "layer costs, for a preset and overrides as for drpt train (drpt explain layerwise_hull finetune=full "
        "data.max_length=1024); without any, all sets in short.",
    )
    # For the help alone: `main` takes the words out, since they may stand in any order.
    explain.add_argument(
        "preset", nargs="?", metavar="PRESET", help="a regularizer, as in regularizer=PRESET; default: all sets"
    )
    explain.add_argument(
        "words",
        nargs="*",
        metavar="group=choice, key=value",
        help="as for drpt train: model, fine-tuning, rows and lengths decide what a step costs",
    )
    explain.set_defaults(run_command=commands["explain"])
    doctor = kinds.add_parser(
        "doctor",
        help="what this machine can run, and what is missing",
        description="Look at the machine, the installed packages, the embedded model, the tracker's login and the browser.",
    )
    doctor.set_defaults(run_command=commands["doctor"])
    return parser


def _add_probe(
    kinds: "argparse._SubParsersAction[argparse.ArgumentParser]", run_probe: Callable[[argparse.Namespace], int]
) -> None:
    from drpt.analysis.probe_grid import FAMILIES, PARTITIONS, STANDARD

    rare = [name for name in FAMILIES if name not in STANDARD]
    probe = kinds.add_parser(
        "probe",
        help="bias and variance of every update rule on one model",
        usage="drpt probe [run=FOLDER [checkpoint=first|last|best|STEP]] [group=choice] [key=value] … [options]",
        description="One pass over a pool of general and target examples, then bias², variance and mean squared error of the "
        "update against the gradient of a disjoint target population: every family, strength and partition. The model is that "
        "of a configuration, as for drpt train, or a trained one: run=FOLDER checkpoint=first, last (default), best, or a step "
        "that trainer.keep_steps named. A regularizer that is named, regularizer=…, is measured besides the families. Writes "
        "probe.html, probe.png and probe.json.",
    )
    probe.add_argument(
        "--rows", type=_rows, nargs="+", metavar="NxM", help="n and m a step, such as 8x2 8x4; default: the data's"
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
        help=f"of {', '.join(FAMILIES)}; or all; default: all but {', '.join(rare)}",
    )
    probe.add_argument("--partitions", nargs="+", choices=PARTITIONS, default=list(PARTITIONS), help="default: all four")
    probe.add_argument("--batch-tokens", type=_positive, default=384, help="tokens a pass; default: 384")
    probe.add_argument("--seed", type=int, default=0, help="of the draws; default: 0")
    probe.add_argument("--runs", type=_path, default=Path("runs"), help="where results go; default: runs")
    probe.add_argument("--out", type=_path, help="folder of the results; default: a new one under --runs")
    probe.set_defaults(run_command=run_probe)


def _path(text: str) -> Path:
    return Path(text).expanduser()  # a shell leaves --runs=~/runs as it is


def _positive(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least 1")
    return value


def _even(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 4 or value % 2:
        raise argparse.ArgumentTypeError(f"{text} must be even, at least 4: one half is independent of the other")
    return value


def _width(text: str) -> int | None:
    return None if text == "exact" else _positive(text)


def _rows(text: str) -> tuple[int, int]:
    general, _, target = text.partition("x")
    if not (general.isdigit() and target.isdigit() and int(general) and int(target)):
        raise argparse.ArgumentTypeError(f"{text} must be n x m, such as 8x2: general and target examples a step")
    return int(general), int(target)


def _families(text: str) -> str:
    from drpt.analysis.probe_grid import FAMILIES
    from drpt.checks import did_you_mean

    if text not in (*FAMILIES, "all"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not known.{did_you_mean(text, FAMILIES)} Choices: {', '.join(FAMILIES)}, all"
        )
    return text
