"""The command line: train, resume, table, report, outcome, probe, doctor. Nothing heavy is imported before it is needed."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

import drpt
from drpt.interruption import Interrupted, acknowledge, listening

if TYPE_CHECKING:
    from drpt.analysis.sweep import Sweep

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status.

    0: done; 1: a job or a file failed; 2: a mistake in the command; 128 and the number of a signal: stopped by it.

    Args:
        arguments: Without the program's name; default: what was typed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with listening(ends_process=arguments is None):
        try:
            sys.exit(_run(words))
        except Interrupted as stop:  # while a message was printed
            sys.exit(stop.exit_code)


def _run(words: list[str]) -> int:
    if words[:1] == ["train"]:  # its options are Hydra's
        return _guard(lambda: _train(words[1:]))
    overrides: list[str] = []
    if words[:1] in (["probe"], ["explain"]):  # options and overrides in any order
        overrides = [word for word in words if "=" in word and not word.startswith("-")]
        words = [word for word in words if word not in overrides]
    if words[:1] == ["explain"]:  # a bare name is a regularizer's
        overrides = [f"regularizer={word}" for word in words[1:] if not word.startswith("-")] + overrides
        words = ["explain", *(word for word in words[1:] if word.startswith("-"))]
    options = _parser().parse_args(words, argparse.Namespace(overrides=overrides))
    return _guard(lambda: options.run_command(options))


def _guard(command: Callable[[], int]) -> int:
    """Turn errors that speak for themselves into a line and a status."""
    console = Console(stderr=True, highlight=False)
    try:
        return command()
    except ValueError as error:  # ours are: a value, a file or a folder is not what it should be
        console.print("[bold red]drpt:[/]", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        return 2
    except OSError as error:  # a disk or a folder; what can go on without it has gone on
        from drpt.storage import explain_os_error

        console.print("[bold red]drpt:[/]", end=" ")
        console.print(explain_os_error(error), markup=False, soft_wrap=True)
        return 1
    except Interrupted as stop:
        acknowledge()
        words = f"; {stop.words}" if stop.words else ""
        console.print(f"\nstopped by {stop}{words}", markup=False, soft_wrap=True)
        return stop.exit_code
    except KeyboardInterrupt:  # somebody else listens to the keyboard
        console.print("\nstopped")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drpt", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"drpt {drpt.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser("train", help="one run, or a sweep with -m", add_help=False)  # for the list; see main
    resume = commands.add_parser(
        "resume",
        help="go on with a sweep where it stopped",
        description="Run a sweep's commands again: finished jobs are skipped, interrupted ones go on from their last "
        "checkpoint, failed ones start anew from theirs.",
    )
    table = commands.add_parser(
        "table",
        help="print a sweep's table",
        description="One line a regularizer and strength: mean ± standard error over seeds of held-out loss, perplexity and "
        "accuracy, the lowest loss of all evaluations, and the cost. Below it stands every job that is not finished or cannot "
        "be read; the status is 1 where there is one.",
    )
    table.add_argument("--format", default="text", choices=("text", "csv", "markdown", "latex"), help="default: text")
    report = commands.add_parser(
        "report",
        help="write a sweep's table.csv, chart.png and report.html",
        description="Write table.csv, chart.png and report.html (one file that opens without a network) into a sweep's "
        "folder, and print the table. The status is 1 where a job is not finished, or a file cannot be written.",
    )
    outcome = commands.add_parser(
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
    for command, run in ((resume, _resume), (table, _table), (report, _report), (outcome, _outcome)):
        command.add_argument("folder", nargs="?", type=_path, help="a sweep's folder; default: the newest under --runs")
        command.add_argument("--runs", type=_path, default=Path("runs"), help="where sweeps are; default: runs")
        command.set_defaults(run_command=run)
    _add_probe(commands)
    explain = commands.add_parser(
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
    explain.set_defaults(run_command=_explain)
    doctor = commands.add_parser(
        "doctor",
        help="what this machine can run, and what is missing",
        description="Look at the machine, the installed packages, the embedded model, the tracker's login and the browser.",
    )
    doctor.set_defaults(run_command=_doctor)
    return parser


def _add_probe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from drpt.analysis.probe_grid import FAMILIES, PARTITIONS, STANDARD

    probe = commands.add_parser(
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
        help=f"of {', '.join(FAMILIES)}; or all; default: all but the last five",
    )
    probe.add_argument("--partitions", nargs="+", choices=PARTITIONS, default=list(PARTITIONS), help="default: all four")
    probe.add_argument("--batch-tokens", type=_positive, default=384, help="tokens a pass; default: 384")
    probe.add_argument("--seed", type=int, default=0, help="of the draws; default: 0")
    probe.add_argument("--runs", type=_path, default=Path("runs"), help="where results go; default: runs")
    probe.add_argument("--out", type=_path, help="folder of the results; default: a new one under --runs")
    probe.set_defaults(run_command=_probe)


def _train(words: list[str]) -> int:
    if not {"-h", "--help"}.isdisjoint(words):
        from drpt.app.train_help import show_help

        show_help(_stdout())
        return 0
    if "--version" in words:
        _stdout().print(f"drpt {drpt.__version__}")
        return 0
    from drpt.app.launch import launch

    folder = launch(words)
    return 0 if folder is None else _conclude(folder)


def _resume(options: argparse.Namespace) -> int:
    from drpt.app.launch import resume

    folder = _folder_of(options).resolve()
    resume(folder)
    return _conclude(folder)


def _conclude(folder: Path) -> int:
    """Report on a sweep; status 1 when jobs of it are not finished, other than those that another process is at work on."""
    from drpt.analysis.sweep import State, read_sweep

    sweep = read_sweep(folder)
    if sweep.finished:
        sweep, _ = _show_report(folder)
    else:
        _show_lines(sweep)
    return int(not sweep.jobs or any(job.state is not State.RUNNING for job in sweep.unfinished))


def _table(options: argparse.Namespace) -> int:
    from drpt.analysis.sweep import read_sweep
    from drpt.analysis.sweep_words import lines_below
    from drpt.analysis.table import row_notes, tabulate
    from drpt.analysis.table_formats import as_csv, as_latex, as_markdown, as_text

    sweep = read_sweep(_folder_of(options))
    rows = tabulate(sweep)
    notes = row_notes(rows)
    if options.format == "text":
        console = _stdout()
        if rows:
            console.print(as_text(rows, console.width))
        _show_lines(sweep, notes=notes)
    elif options.format == "csv":
        sys.stdout.write(as_csv(rows, sweep.name))
        if notes or not sweep.is_complete:  # a table for machines; what a reader must know goes beside it
            _show_lines(sweep, Console(stderr=True, highlight=False), notes)
    else:
        sys.stdout.write({"markdown": as_markdown, "latex": as_latex}[options.format](rows, lines_below(sweep, notes)))
    return 0 if sweep.is_complete else 1


def _report(options: argparse.Namespace) -> int:
    from drpt.analysis.sweep import read_sweep

    folder = _folder_of(options)
    if not (sweep := read_sweep(folder)).finished:
        _show_lines(sweep)
        return 1
    sweep, is_written = _show_report(folder)
    return 0 if sweep.is_complete and is_written else 1


def _show_report(folder: Path) -> "tuple[Sweep, bool]":
    """Write and print; also whether all files could be written."""
    from drpt.analysis.report import write_report
    from drpt.analysis.table_formats import as_text

    report = write_report(folder)
    console = _stdout()
    console.print()
    console.print(as_text(report.rows, console.width))
    _show_lines(report.sweep, notes=report.notes)
    for name, path in report.written.items():
        console.print(f"{name}: {path}", markup=False, soft_wrap=True)
    for fault in report.faults.values():
        Console(stderr=True, highlight=False).print(fault, style="yellow", markup=False, soft_wrap=True)
    return report.sweep, not report.faults


def _show_lines(sweep: "Sweep", console: Console | None = None, notes: Sequence[str] = ()) -> None:
    """What stands below a table: of which sweep it is, and what is missing in it."""
    from drpt.analysis.sweep_words import lines_below

    console = console or _stdout()
    for line in lines_below(sweep, notes):
        console.print(line, style=None if sweep.is_complete else "yellow", markup=False, soft_wrap=True)


def _folder_of(options: argparse.Namespace) -> Path:
    from drpt.analysis.run import ResultsError
    from drpt.analysis.sweep import newest_sweep

    if options.folder is None:
        return newest_sweep(options.runs)
    if not options.folder.is_dir():
        raise ResultsError(f"{options.folder}: no such folder. Sweeps are under {options.runs}/.")
    return Path(options.folder)


def _probe(options: argparse.Namespace) -> int:
    from drpt.analysis.probe_grid import FAMILIES
    from drpt.app.probe_words import read_probe_words

    if "all" in options.families:
        options.families = tuple(FAMILIES)
    asked = read_probe_words(options.overrides)
    from drpt.app.probe import run_probe  # torch: not before the words are known to be good

    return run_probe(options, asked, _stdout())


def _explain(options: argparse.Namespace) -> int:
    from drpt.app.explain import explain_regularizer

    return explain_regularizer(options.overrides, _stdout())


def _outcome(options: argparse.Namespace) -> int:
    folder = _folder_of(options)
    from drpt.app.outcome import run_outcome

    return run_outcome(folder, logits_mib=options.logits_mib, console=_stdout())


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


def _doctor(options: argparse.Namespace) -> int:
    from drpt.app.doctor import examine

    return examine(_stdout())


def _stdout() -> Console:
    """A terminal has its own width; a file or pipe gets room for every column."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)
