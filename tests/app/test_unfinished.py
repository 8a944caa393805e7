"""Tables, reports and exit statuses of sweeps that are not whole, from the command line."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drpt.app.cli import main
from tests.analysis.many_runs import make_many
from tests.app.conftest import TINY

SMALL = (*TINY, "trainer.max_steps=2", "evaluation.every_steps=1", "evaluation.num_generate=2")
SWEEP = ("-m", *SMALL, "regularizer=full,mix", "seed=0,1", "sweep=four")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds of two regularizers, trained once."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["drpt"])
        with pytest.raises(SystemExit) as exit_:
            main(["train", *SWEEP])
    assert not exit_.value.code
    return folder / "runs" / "four"


@pytest.fixture
def sweep(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs" / "four")


@pytest.fixture
def tell(sweep, monkeypatch, capfd):
    """Runs `drpt WORDS…` beside the sweep; its status, standard output and standard error."""
    monkeypatch.chdir(sweep.parent.parent)

    def run(*words):
        with pytest.raises(SystemExit) as exit_:
            main(list(words))
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return exit_.value.code or 0, captured.out, captured.err

    return run


def _job(sweep, name="full-seed1"):
    (folder,) = sweep.glob(f"{name}-*")
    return folder


def _status(sweep, status, **more):
    path = _job(sweep) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": status} | more))


def test_the_jobs_of_a_command_are_recorded(trained):
    (line,) = (trained / "commands.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["jobs"]) == sorted(path.parent.name for path in trained.glob("*/summary.json"))


def test_every_table_of_a_whole_sweep_tells_which_one_it_is(tell):
    for words in ((), ("--format", "markdown"), ("--format", "latex")):
        status, out, err = tell("table", *words)
        assert (status, err) == (0, "")
        assert "four: all 4 jobs finished" in out
    status, out, err = tell("table", "--format", "csv")
    assert (status, err) == (0, "")
    assert {row["sweep"] for row in csv.DictReader(io.StringIO(out))} == {"four"}


def _fail(sweep):
    _status(sweep, "failed", error="NonFiniteLossError: step 1: too large")
    return "1 failed", "failed full-seed1-", "NonFiniteLossError: step 1: too large"


def _interrupt(sweep):
    _status(sweep, "interrupted")
    return "1 interrupted", "interrupted full-seed1-", "it was stopped"


def _kill(sweep):
    _status(sweep, "running")
    return "1 killed", "killed full-seed1-", "its process ended without recording a reason"


def _lose(sweep):
    shutil.rmtree(_job(sweep))
    return "1 missing", "missing full-seed1-", "it has not begun"


def _damage(sweep):
    (_job(sweep) / "summary.json").write_text("{")
    return "1 unreadable", "unreadable full-seed1-", "summary.json is malformed"


@pytest.mark.parametrize("spoil", [_fail, _interrupt, _kill, _lose, _damage])
def test_a_job_that_is_not_finished_is_named_under_every_table_and_in_the_status(tell, sweep, spoil):
    count, *words = spoil(sweep)
    counts = f"four: 3 of 4 jobs finished; {count}"
    for options in ((), ("--format", "markdown"), ("--format", "latex")):
        status, out, _ = tell("table", *options)
        assert status == 1
        for word in (counts, *words, "`drpt resume runs/four`"):
            assert word in out
    status, out, err = tell("table", "--format", "csv")
    assert status == 1
    for word in (counts, *words):
        assert word in err
        assert word not in out
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(out))}
    assert (rows["full"]["num_seeds"], rows["full"]["num_planned"]) == ("1", "2")
    assert (rows["mix"]["num_seeds"], rows["mix"]["num_planned"]) == ("2", "2")


def test_a_report_of_a_sweep_with_a_failed_job(tell, sweep):
    count, *words = _fail(sweep)
    status, out, err = tell("report")
    assert (status, err) == (1, "")
    page = Path("runs/four/report.html").read_text()
    for word in (f"four: 3 of 4 jobs finished; {count}", *words):
        assert word in out
        assert word in page
    assert "1 of 2" in page


def test_a_sweep_none_of_whose_jobs_is_finished_is_no_success(tell, sweep):
    for path in sweep.glob("*/summary.json"):
        path.write_text(json.dumps({"status": "interrupted", "label": "x"}))
    for words in (("table",), ("report",), ("table", "--format", "csv")):
        status, out, err = tell(*words)
        assert status == 1
        assert "four: 0 of 4 jobs finished; 4 interrupted" in out + err
    status, _, err = tell("outcome")
    assert status == 2
    assert "none of its 4 runs is finished yet" in err


def test_the_way_out_is_one(tell, sweep):
    before = tell("table", "--format", "csv")[1]
    _lose(sweep)
    status, out, err = tell("resume", "runs/four")
    assert status == 0, out + err
    assert "four: all 4 jobs finished" in out
    status, out, _ = tell("table", "--format", "csv")
    assert status == 0

    def losses(text):
        return [(row["regularizer"], row["loss_mean"]) for row in csv.DictReader(io.StringIO(text))]

    assert losses(out) == losses(before)


def test_a_finished_job_whose_configuration_is_damaged_gets_it_back(tell, sweep):
    before = tell("table", "--format", "csv")
    path = _job(sweep) / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert tell("table")[0] == 1
    status, out, err = tell("resume")
    assert status == 0, err
    assert "config.yaml was damaged and has been rewritten" in out + err
    assert tell("table", "--format", "csv") == before


def _cut(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: int(0.9 * len(lines))]))


def _double(path):
    path.write_bytes(2 * path.read_bytes())


@pytest.mark.parametrize("damage", [_cut, _double, Path.unlink])
def test_metrics_that_are_not_whole_are_named_and_counted(tell, sweep, damage):
    path = _job(sweep) / "metrics.jsonl"
    damage(path)
    status, out, _ = tell("report", "runs/four")
    assert status == 1
    assert f"{path.parent.name}/metrics.jsonl" in out
    assert "left out of curves and answers" in out


@pytest.mark.parametrize("damage", ["a bad byte", "half", "nothing", "zeros"])
def test_a_damaged_record_of_commands_is_named(tell, sweep, damage):
    shutil.rmtree(_job(sweep))
    path = sweep / "commands.jsonl"
    content = path.read_bytes()
    changes = {
        "a bad byte": content[:30] + b"\xff" + content[31:],
        "half": content[: len(content) // 2],
        "nothing": b"",
        "zeros": bytes(len(content)),
    }
    path.write_bytes(changes[damage])
    status, out, _ = tell("table", "runs/four")
    assert status == 1
    assert "four: 3 jobs finished; how many there should be cannot be read" in out
    assert f"commands.jsonl is {'empty' if damage == 'nothing' else 'damaged: 1 of its 1 lines'}" in out
    assert "an earlier version" not in out


def test_a_job_that_is_a_link_to_nowhere_is_named(tell, sweep):
    folder = _job(sweep)
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")
    status, out, _ = tell("table", "runs/four")
    assert status == 1
    assert f"unreadable {folder.name}: runs/four/{folder.name} is a broken link" in out


def test_what_is_in_the_lock_s_place_is_named(tell, sweep):
    lock = _job(sweep) / ".lock"
    lock.unlink()
    lock.mkdir()
    _status(sweep, "interrupted")
    status, out, err = tell("resume", "runs/four")
    assert status == 1
    assert f"{lock.parent.name}/.lock: this is a folder, but a file is needed there" in out + err


# --- results that cannot be written


def test_outcomes_say_what_is_missing_and_are_shown_where_they_cannot_be_written(tell, sweep):
    count, *words = _fail(sweep)
    (sweep / "outcome.png").mkdir()
    status, out, err = tell("outcome")
    assert status == 1
    for word in (f"four: 3 of 4 jobs finished; {count}", *words, "left out, with one measurable run (seed 0): full"):
        assert word in out
    assert "runs/four/outcome.png: this is a folder, but a file is needed there. Move it away" in err
    record = json.loads((sweep / "outcome.json").read_text())
    assert sorted(record["jobs"].values()) == ["failed", *["finished"] * 3]


def test_a_report_that_cannot_be_written_does_not_fail_its_sweep(tell, sweep, monkeypatch):
    def write(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("drpt.analysis.report.write_atomically", write)
    status, out, err = tell("train", *SWEEP)
    assert status == 0
    assert "four: all 4 jobs finished" in out
    assert err.count("the disk or your quota is full") == 3
    assert tell("report")[0] == 1, "here it is the report that was asked for"


PROBE = ("probe", *SMALL, "--pool", "8", "--draws", "4", "--families", "full", "mix", "--partitions", "global")


def test_a_probe_that_cannot_be_written_ends_before_its_work(tell):
    Path("taken").write_text("a file")
    for place in ("taken", "taken/below"):
        status, out, err = tell(*PROBE, "--out", place)
        assert (status, out) == (2, "")
        assert "taken: this is a file, but a folder is needed there. Move it away" in err


@pytest.mark.long
def test_a_probe_whose_disk_is_full_shows_what_it_found(tell, monkeypatch):
    def write(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("drpt.app.result_files.write_atomically", write)
    status, out, err = tell(*PROBE, "--out", "out")
    assert status == 1
    assert "best point of each family" in out
    assert "out/probe.json: the disk or your quota is full" in err


# --- large sweeps

COUNTED = """
import resource, sys
from pathlib import Path
from drpt.app.cli import main
try:
    main(["table", sys.argv[1], *sys.argv[2:]])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # That record begins anew with a program; the other one goes on from the process that started it.
    (peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    heavy = sorted({"torch", "pandas", "matplotlib", "omegaconf", "hydra", "lightning"} & set(sys.modules))
    print(used.ru_utime + used.ru_stime, int(peak) / 1024, *heavy, file=sys.stderr)
"""


def _counted(sweep, *words):
    done = subprocess.run([sys.executable, "-c", COUNTED, str(sweep), *words], capture_output=True, text=True, check=False)
    seconds, mib, *heavy = done.stderr.splitlines()[-1].split()
    return done, float(seconds), float(mib), heavy


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is counted by Linux")


@linux
def test_a_table_needs_no_heavy_package(trained):
    done, _, mib, heavy = _counted(trained)
    assert done.returncode == 0, done.stderr
    assert heavy == []
    assert mib < 100


@linux
@pytest.mark.long
def test_a_table_of_two_thousand_runs_takes_seconds(trained, tmp_path):
    """In 3 s and 300 MB on an idle core; the bound on seconds of the processor is for busy and slow machines, too."""
    many = make_many(_job(trained, "mix-0.5-seed0"), tmp_path / "many", 2000)
    for words in ((), ("--format", "csv")):
        done, seconds, mib, heavy = _counted(many, *words)
        assert done.returncode == 0, done.stderr
        assert heavy == []
        assert seconds < 6
        assert mib < 300
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 401, "zero-shot, and 400 strengths"
    assert {row["num_seeds"] for row in rows[1:]} == {"5"}
