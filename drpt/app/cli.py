"""The entry point `drpt`: runs a command and turns errors into messages and exit codes. Heavy imports are deferred."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

import drpt
from drpt.app.arguments import build_parser
from drpt.interruption import Interrupted, acknowledge, listening, told

if TYPE_CHECKING:
    from drpt.analysis.report import Report
    from drpt.analysis.sweep import Sweep


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status.

    The status is 0 for success, 1 if a job or a file failed, 2 for a mistake in the command, and 128 plus the number of the
    signal that stopped the command.

    Args:
        arguments: Command-line arguments without the program's name; default: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with listening(ends_process=arguments is None):
        try:
            sys.exit(_run(words))
        except Interrupted as stop:  # a signal arrived while a message was printed
            sys.exit(stop.exit_code)


def _run(words: list[str]) -> int:
    if words[:1] == ["train"]:  # Hydra's options, not argparse's
        return _guard(lambda: _train(words[1:]))
    overrides: list[str] = []
    if words[:1] in (["probe"], ["explain"]):  # options and overrides in any order
        overrides = [word for word in words if "=" in word and not word.startswith("-")]
        words = [word for word in words if word not in overrides]
    if words[:1] == ["explain"]:  # a bare name is a preset of regularizer
        overrides = [f"regularizer={word}" for word in words[1:] if not word.startswith("-")] + overrides
        words = ["explain", *(word for word in words[1:] if word.startswith("-"))]
    options = build_parser(_COMMANDS).parse_args(words, argparse.Namespace(overrides=overrides))
    return _guard(lambda: options.run_command(options))


def _guard(command: Callable[[], int]) -> int:
    """Turn expected errors, whose messages are meant for the user, into a line and a status."""
    console = Console(stderr=True, highlight=False)
    try:
        return command()
    except Interrupted as stop:
        return _stopped(stop, console)
    except KeyboardInterrupt:  # another library handles SIGINT
        console.print("\nstopped")
        return 130
    except Exception as error:  # any: a signal may hide behind it; what is not ours is raised again below
        if (signal := told()) is not None:  # a library replaced the signal's exception with its own
            return _stopped(signal, console)
        if isinstance(error, ValueError):  # the base class of drpt's errors about values, files and folders
            words, status = str(error), 2
        elif isinstance(error, OSError):  # a file or folder that the command cannot do without
            from drpt.storage import explain_os_error

            words, status = explain_os_error(error), 1
        else:
            raise
        console.print("[bold red]drpt:[/]", end=" ")
        console.print(words, markup=False, soft_wrap=True)
        return status


def _stopped(stop: Interrupted, console: Console) -> int:
    acknowledge()
    words = f"; {stop.words}" if stop.words else ""
    console.print(f"\nstopped by {stop}{words}", markup=False, soft_wrap=True)
    return stop.exit_code


def _train(words: list[str]) -> int:
    if not {"-h", "--help"}.isdisjoint(words):
        from drpt.app.train_help import show_help, show_keys

        asked = [word for word in words if not word.startswith("-")]
        if asked:
            show_keys(asked, _stdout())
        else:
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
    """Report on a sweep; the status is 1 if jobs are unfinished, except those that another process is running."""
    from drpt.analysis.sweep import State, read_sweep

    sweep = read_sweep(folder)
    if sweep.finished:
        sweep = _show_report(folder).sweep
    else:
        _show_lines(sweep)
    return int(not sweep.jobs or any(job.state is not State.RUNNING for job in sweep.unfinished))


def _table(options: argparse.Namespace) -> int:
    from drpt.analysis.sweep import read_sweep
    from drpt.analysis.sweep_words import lines_below
    from drpt.analysis.table import row_notes, size_notes, tabulate
    from drpt.analysis.table_formats import as_csv, as_latex, as_markdown, as_text

    sweep = read_sweep(_folder_of(options))
    rows = tabulate(sweep)
    notes = row_notes(rows)
    if options.format == "text":
        console = _stdout()
        if rows:
            console.print(as_text(rows, console.width))
        _show_lines(sweep, notes=[*size_notes(rows), *notes])
    elif options.format == "csv":
        sys.stdout.write(as_csv(rows, sweep.name))
        if notes or not sweep.is_complete:  # CSV is for programs, so notes for readers go to standard error
            _show_lines(sweep, Console(stderr=True, highlight=False), notes)
    else:
        below = lines_below(sweep, [*size_notes(rows), *notes])
        sys.stdout.write({"markdown": as_markdown, "latex": as_latex}[options.format](rows, below))
    return 0 if sweep.is_complete else 1


def _report(options: argparse.Namespace) -> int:
    from drpt.analysis.sweep import read_sweep

    folder = _folder_of(options)
    if not (sweep := read_sweep(folder)).finished:
        _show_lines(sweep)
        return 1
    return 0 if _show_report(folder).is_whole else 1


def _show_report(folder: Path) -> "Report":
    """Write and print."""
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
    return report


def _show_lines(sweep: "Sweep", console: Console | None = None, notes: Sequence[str] = ()) -> None:
    """Print the lines below a table: the sweep's name, and what is missing."""
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
        raise ResultsError(f"{options.folder}: there is no such folder. Sweeps are under {options.runs}/.")
    return Path(options.folder)


def _probe(options: argparse.Namespace) -> int:
    from drpt.analysis.probe_grid import FAMILIES
    from drpt.app.probe_words import read_probe_words

    if "all" in options.families:
        options.families = tuple(FAMILIES)
    asked = read_probe_words(options.overrides)
    from drpt.app.probe import run_probe  # imports torch, so only after the overrides were checked

    return run_probe(options, asked, _stdout())


def _explain(options: argparse.Namespace) -> int:
    from drpt.app.explain import explain_regularizer

    return explain_regularizer(options.overrides, _stdout())


def _outcome(options: argparse.Namespace) -> int:
    folder = _folder_of(options)
    from drpt.app.outcome import run_outcome

    return run_outcome(folder, logits_mib=options.logits_mib, console=_stdout())


def _doctor(options: argparse.Namespace) -> int:
    from drpt.app.doctor import examine

    return examine(_stdout())


def _stdout() -> Console:
    """A console with the terminal's width, or wide enough for every column if the output is a file or pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "resume": _resume,
    "table": _table,
    "report": _report,
    "outcome": _outcome,
    "probe": _probe,
    "explain": _explain,
    "doctor": _doctor,
}
