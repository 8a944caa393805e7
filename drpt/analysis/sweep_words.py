"""The notes below every table, chart and page: the sweep's name, the states of its jobs, and what to do about them."""

import shlex
from collections.abc import Sequence

from drpt.analysis.sweep import State, Sweep

_MOST_NAMED = 12
_AGAIN = (State.FAILED, State.INTERRUPTED, State.KILLED, State.MISSING)  # states of jobs that resuming runs again


def counts_of(sweep: Sweep) -> str:
    """The sweep's name and the states of its jobs: ``first: 5 of 7 jobs finished; 1 failed, 1 missing``."""
    return f"{sweep.name}: {states_of(sweep)}"


def states_of(sweep: Sweep) -> str:
    """The states of a sweep's jobs: ``5 of 7 jobs finished; 1 failed, 1 missing``."""
    total, finished = len(sweep.jobs), sweep.count(State.FINISHED)
    jobs = "job" if total == 1 else "jobs"
    if finished == total and not sweep.has_plan:
        known = "cannot be read" if sweep.damaged_record else "is not recorded"
        return f"{total} {jobs} finished; how many there should be {known}"
    if finished == total:
        return f"{'all ' if total > 1 else ''}{total} {jobs} finished"
    others = [f"{count} {state}" for state in State if state is not State.FINISHED and (count := sweep.count(state))]
    return f"{finished} of {total} {jobs} finished; {', '.join(others)}"


def unfinished_lines(sweep: Sweep) -> list[str]:
    """Unfinished jobs by name, with the reason; at most a dozen, then a count.

    Args:
        sweep: Sweep from `read_sweep`.

    Returns:
        One line for each job; none if the sweep is complete.
    """
    # Jobs that are still running come last.
    jobs = sorted(sweep.unfinished, key=lambda job: job.state is State.RUNNING)
    lines = [f"{job.state} {job.name}: {job.reason}" for job in jobs[:_MOST_NAMED]]
    if more := len(jobs) - len(lines):
        lines.append(f"and {more} more")
    return lines


def ways_out(sweep: Sweep) -> list[str]:
    """What a user can do about unfinished jobs.

    Args:
        sweep: Sweep from `read_sweep`.

    Returns:
        Sentences; none if there is nothing to do.
    """
    is_run = [job.name for job in sweep.jobs] == [sweep.name]
    folder = sweep.folder.parent if is_run and not (sweep.folder / sweep.name).exists() else sweep.folder
    command = f"`drpt resume {shlex.quote(str(folder))}`"
    if is_run and not sweep.is_resumable:
        way = "This is one run without its sweep: give `drpt resume` the folder of its sweep."
        return [way] if sweep.unfinished else []
    if not sweep.is_resumable:
        command = f"the sweep's own command, repeated with sweep={sweep.name}, since none is recorded here,"
    ways = []
    if any(job.state in _AGAIN for job in sweep.unfinished):
        ways.append(f"{command} runs the unfinished jobs.")
    if sweep.count(State.UNREADABLE):
        ways.append(f"Restore unreadable files, or remove the job's folder: then {command} trains it again.")
    if not sweep.has_plan and not sweep.is_complete and not sweep.damaged_record:
        ways.append("Jobs that never began are unknown, since an earlier version did not record them.")
    return ways


def none_finished(sweep: Sweep) -> str:
    """Why there is nothing to show for a sweep without finished jobs, in several lines."""
    states = ", ".join(dict.fromkeys(str(job.state) for job in sweep.jobs))
    return "\n".join([f"{sweep.folder}: none of its {len(sweep.jobs)} runs is finished yet ({states}).", *lines_below(sweep)])


def lines_below(sweep: Sweep, notes: Sequence[str] = ()) -> list[str]:
    """All lines below a table.

    Args:
        sweep: Sweep from `read_sweep`.
        notes: Further notes, such as about damaged files.

    Returns:
        Lines of plain text; the first has the counts.
    """
    damage = [f"{sweep.damaged_record}; jobs that never began may be unknown."] if sweep.damaged_record else []
    return [counts_of(sweep), *(f"  {line}" for line in unfinished_lines(sweep)), *damage, *ways_out(sweep), *notes]


def fault_lines(sweep: Sweep) -> list[str]:
    """Damaged files of finished runs that charts and pages cannot use; reading them takes a while.

    Args:
        sweep: Sweep from `read_sweep`.

    Returns:
        At most a dozen lines and a count; none if everything is readable.
    """
    found = [f"{reason}; left out of curves and answers" for run in sweep.finished for reason in run.faults.values()]
    more = len(found) - _MOST_NAMED
    return found[:_MOST_NAMED] + ([f"and {more} more files of finished runs are damaged"] if more > 0 else [])
