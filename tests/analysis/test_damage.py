"""What is damaged in one run's folder changes no other run's figures, and is named."""

import csv
import errno
import io
import json
import os
import shutil

import pytest
from filelock import FileLock

from drpt.analysis.report import write_report
from drpt.analysis.run import CHECKED_FILES, ResultsError
from drpt.analysis.run_files import checksums_of
from drpt.analysis.sweep import State, newest_sweep, read_sweep
from drpt.analysis.sweep_words import counts_of, lines_below, unfinished_lines
from drpt.analysis.table import ZERO_SHOT, tabulate
from drpt.analysis.table_formats import as_csv, as_latex, as_markdown, as_text
from tests.analysis.rlvr_runs import make_rlvr_sweep
from tests.analysis.test_table import make_run

NEEDED = ("config.yaml", "summary.json")  # by every table
SHOWN = ("metrics.jsonl", "samples.json", "outcomes.json")  # by charts and pages
OTHERS = ("data.json", "environment.json", "rollouts.jsonl")
DAMAGED = "full-None-1"


def _empty(path):
    path.write_text("")


def _half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _garbage(path):
    path.write_bytes(bytes(range(256)))


def _list(path):
    path.write_text("[1, 2]\n")


def _number(path):
    path.write_text("7\n")


def _null(path):
    path.write_text("null\n")


def _deep(path):
    path.write_text("[" * 100_000)


def _folder(path):
    path.unlink()
    path.mkdir()


def _missing(path):
    path.unlink()


def _unreadable(path):  # as a superuser may read everything: a link that leads to itself
    path.unlink()
    path.symlink_to(path.name)


WAYS = (_empty, _half, _garbage, _list, _number, _null, _deep, _folder, _missing, _unreadable)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    sweep = make_rlvr_sweep(tmp_path_factory.mktemp("damage") / "rl", [("target_only", None, 0.5), ("full", None, 0.6)])
    for folder in sweep.iterdir():
        for name in OTHERS:
            (folder / name).write_text('{"fingerprint": "0"}\n')
        (folder / "checkpoints").mkdir()
    jobs = {run.folder.name: run.point for run in read_sweep(sweep)}
    (sweep / "commands.jsonl").write_text(json.dumps({"folder": "/", "words": ["-m"], "jobs": jobs}) + "\n")
    return sweep


@pytest.fixture
def sweep(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "rl")


def _figures(rows):
    """By point: how many seeds, and every cell."""
    read = csv.DictReader(io.StringIO(as_csv(rows, "rl")))
    return {row["regularizer"]: row for row in read}


@pytest.mark.parametrize("name", [*NEEDED, *SHOWN, *OTHERS])
@pytest.mark.parametrize("damage", WAYS)
def test_a_table_loses_the_damaged_run_alone_and_names_it(whole, sweep, name, damage):
    before = _figures(tabulate(read_sweep(whole)))
    damage(sweep / DAMAGED / name)
    found = read_sweep(sweep)
    rows = tabulate(found)
    after = _figures(rows)
    as_text(rows, 120)
    as_markdown(rows, lines_below(found))
    as_latex(rows, lines_below(found))
    assert after["target_only"] == before["target_only"]
    if name in NEEDED:
        assert after["full"]["seeds"] == "0"
        assert not found.is_complete
        (line,) = unfinished_lines(found)
        assert line.startswith(f"unreadable {DAMAGED}: {name} ")
        assert counts_of(found) == "rl: 3 of 4 jobs finished; 1 unreadable"
        assert "remove the job's folder: then `drpt resume" in lines_below(found)[2]
    elif name != "data.json":
        assert found.is_complete
        assert after == before
        (fault,) = found[1].faults if name in SHOWN and found[1].faults else [name]
        assert fault == name


def _values(**changes):
    """A change of some of a JSON file's entries; None removes one."""

    def damage(path):
        value = json.loads(path.read_text())
        for key, change in changes.items():
            if change is None:
                del value[key]
            else:
                value[key] = change
        path.write_text(json.dumps(value))

    return damage


def _final(name, value):
    def damage(path):
        summary = json.loads(path.read_text())
        summary["final"][name] = value
        path.write_text(json.dumps(summary))

    return damage


def _text(old, new):
    def damage(path):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("summary.json", _values(status=None), "has no status"),
        ("summary.json", _values(status=[1]), "has status=[1] instead of a text"),
        ("summary.json", _values(label=7), "has label=7 instead of a text"),
        ("summary.json", _values(final=None), "has no final"),
        ("summary.json", _values(final=[0.5]), "has final=[0.5] instead of a mapping"),
        ("summary.json", _values(best="none"), "has best='none' instead of a mapping"),
        ("summary.json", _values(selected_step="last"), "has selected_step='last' instead of a whole number"),
        ("summary.json", _values(final={}), "has no final target/reward/mean"),
        ("summary.json", _final("target/reward/mean", float("nan")), "has NaN for final target/reward/mean"),
        ("summary.json", _final("target/accuracy/mean", "0.5"), "has final target/accuracy/mean='0.5' instead of a number"),
        ("summary.json", _final("target/reward/mean", True), "has final target/reward/mean=True instead of a number"),
        (
            "summary.json",
            _final("target/reward/mean", 10**400),
            "has final target/reward/mean with a whole number of 401 digits",
        ),
        ("config.yaml", _text("seed: 1", f"seed: 1{'0' * 400}"), "has a value with a whole number of 401 digits"),
        ("config.yaml", _text("trainer:", "evaluation:\ntrainer:"), "has evaluation=None instead of a mapping"),
        ("config.yaml", _text("seed: 1", "seed: one"), "has seed='one' instead of a whole number"),
        ("config.yaml", _text("seed: 1", "seed: true"), "has seed=True instead of a whole number"),
        ("config.yaml", _text("name: rlvr", "name: rlvx"), "has task.name='rlvx': nothing is known of what counts"),
        ("config.yaml", _text("name: rlvr", "- rlvr"), "has task=['rlvr'] instead of a mapping"),
        ("config.yaml", _text("name: full", "names: full"), "has no regularizer.name"),
        ("config.yaml", _text("strength: null", "strength: [1]"), "has regularizer.strength=[1] instead of a number or a text"),
        ("config.yaml", _text("trainer:", "trainers:"), "has no section trainer: it is truncated"),
        ("config.yaml", _text("seed: 1", "seed: &seed [*seed]"), "is nested too deeply"),
        ("config.yaml", _text("seed: 1", "seed: {"), "is malformed: "),
    ],
)
def test_what_a_table_needs_is_checked_when_it_is_read(whole, sweep, name, damage, reason):
    damage(sweep / DAMAGED / name)
    found = read_sweep(sweep)
    (line,) = unfinished_lines(found)
    assert line.startswith(f"unreadable {DAMAGED}: {name} {reason}")
    assert "\n" not in line
    assert len(line) < 300
    assert _figures(tabulate(found))["target_only"] == _figures(tabulate(read_sweep(whole)))["target_only"]


def _with_checksums(sweep):
    for folder in sweep.iterdir():
        if folder.is_dir():
            path = folder / "summary.json"
            sums = checksums_of(folder, CHECKED_FILES)
            assert set(sums) == set(CHECKED_FILES)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"checksums": sums}))


def test_a_configuration_that_is_cut_off_at_any_line_is_noticed(whole, sweep):
    _with_checksums(sweep)
    assert read_sweep(sweep).is_complete
    path = sweep / DAMAGED / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    for num_lines in range(len(lines)):
        path.write_text("".join(lines[:num_lines]))
        (line,) = unfinished_lines(read_sweep(sweep))
        assert line.startswith(f"unreadable {DAMAGED}: config.yaml ")
        assert _figures(tabulate(read_sweep(sweep)))["full"]["seeds"] == "0"


@pytest.mark.parametrize("name", ["config.yaml", "data.json"])
@pytest.mark.parametrize("damage", [*WAYS, _text("0", "1"), _text("0", "00")])
def test_what_a_run_is_and_was_made_from_is_what_it_was_when_it_finished(whole, sweep, name, damage):
    _with_checksums(sweep)
    damage(sweep / DAMAGED / name)
    (line,) = unfinished_lines(read_sweep(sweep))
    assert line.startswith(f"unreadable {DAMAGED}: {name} ")
    assert _figures(tabulate(read_sweep(sweep)))["target_only"] == _figures(tabulate(read_sweep(whole)))["target_only"]


def test_an_infinite_figure_is_a_figure(sweep):
    _final("target/accuracy/mean", float("inf"))(sweep / DAMAGED / "summary.json")
    assert read_sweep(sweep).is_complete


def _lines(change):
    def damage(path):
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("metrics.jsonl", _missing, "is missing or empty"),
        (
            "metrics.jsonl",
            _lines(lambda lines: lines[: len(lines) // 2]),
            "is incomplete: its last target/reward/mean, of",
        ),
        ("metrics.jsonl", _lines(lambda lines: ["[1]", *lines]), "has line 1=[1] instead of a mapping"),
        ("metrics.jsonl", _lines(lambda lines: ['{"step": "1", "name": "a", "value": 1}', *lines]), "has line 1: step='1'"),
        ("metrics.jsonl", _folder, "cannot be read (Is a directory)"),
        ("samples.json", _number, "has 7 instead of a list"),
        ("samples.json", _text('"reward": 1.0', '"reward": "1.0"'), "has entry 1: reward='1.0' instead of a number or null"),
        ("samples.json", _text('"answer": ', '"answers": '), "has no entry 1: answer"),
        ("outcomes.json", _half, "is malformed"),
        ("outcomes.json", _text('"share": 0.25', '"share": [0.25]'), "has entry"),
    ],
)
def test_charts_and_pages_leave_out_what_is_damaged_and_say_so(sweep, name, damage, reason):
    before = as_csv(tabulate(read_sweep(sweep)))
    damage(sweep / DAMAGED / name)
    report = write_report(sweep)
    assert report.faults == {}
    assert as_csv(report.rows) == before, "the final figures are in the summary"
    (note,) = report.notes
    assert note.startswith(f"{sweep / DAMAGED / name} {reason}")
    page = report.page.read_text()
    assert f"{DAMAGED}/{name}" in page
    assert "left out of curves and answers" in page


def test_metrics_are_not_read_for_a_table(sweep, monkeypatch):
    monkeypatch.setattr("drpt.analysis.run.read_metrics", lambda path: pytest.fail(f"{path} was read"))
    monkeypatch.setattr("drpt.analysis.run.checked_samples", lambda path: pytest.fail(f"{path} was read"))
    rows = tabulate(read_sweep(sweep))
    as_text(rows, 120)
    assert [row.num_seeds for row in rows if row.name != ZERO_SHOT] == [2, 2]


def test_equal_parts_of_configurations_are_parsed_once_and_differ_where_they_differ(sweep):
    runs = read_sweep(sweep)
    assert runs[0].config["data"] is runs[1].config["data"]
    assert [run.config["seed"] for run in runs] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: 1}\nc: *x\n",
        "a: 'one\n\nb: two'\nc: 3\n",
        "a:\n- 1\n- b: 2\nc: |\n  d: 1\n  e: 2\n",
        "# words\na: 1  # more\n\nb:\n    c: [1,\n      2]\na: 2\n",
        '{"a": 1, "b": [2]}',
        "---\na: 1\n...\n",
    ],
)
def test_parsing_by_sections_is_parsing(tmp_path, text):
    import yaml

    from drpt.analysis.run_files import read_yaml

    (tmp_path / "file.yaml").write_text(text)
    assert read_yaml(tmp_path / "file.yaml") == yaml.safe_load(text)


# --- jobs that are not finished


def _say(folder, **changes):
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_job_is_counted_and_named_with_the_way_out(sweep):
    for number, (status, error) in enumerate((("failed", "NonFiniteLossError: step 3"), ("interrupted", ""), ("running", ""))):
        folder = make_run(sweep, "mix", number, 1.0, strength=0.5)
        _say(folder, status=status, **({"error": error} if error else {}))
    shutil.rmtree(sweep / DAMAGED)
    found = read_sweep(sweep)
    counts, *lines = lines_below(found)
    assert counts == "rl: 3 of 7 jobs finished; 1 failed, 1 interrupted, 1 killed, 1 missing"
    assert [line.strip() for line in lines] == [
        f"missing {DAMAGED}: it has not begun",
        "failed mix-0.5-layer-0: NonFiniteLossError: step 3",
        "interrupted mix-0.5-layer-1: it was stopped",
        "killed mix-0.5-layer-2: its process ended without recording a reason",
        f"`drpt resume {sweep}` runs the unfinished jobs.",
    ]
    for text in (as_markdown(tabulate(found), [counts, *lines]), as_latex(tabulate(found), [counts, *lines])):
        assert counts in text
    page = write_report(sweep).page.read_text()
    assert counts in page
    assert "NonFiniteLossError: step 3" in page


def test_a_run_that_somebody_is_at_work_on_is_running(sweep):
    folder = sweep / DAMAGED
    _say(folder, status="running")
    with FileLock(folder / ".lock"):
        found = read_sweep(sweep)
        assert counts_of(found) == "rl: 3 of 4 jobs finished; 1 running"
        assert lines_below(found)[2:] == []
    assert counts_of(read_sweep(sweep)) == "rl: 3 of 4 jobs finished; 1 killed"


def test_a_job_that_failed_before_it_had_a_configuration_is_a_failed_job(sweep):
    folder = sweep / DAMAGED
    (folder / "summary.json").write_text(json.dumps({"status": "failed", "error": "ValueError: no", "label": folder.name}))
    (folder / "config.yaml").unlink()
    assert unfinished_lines(read_sweep(sweep)) == [f"failed {DAMAGED}: ValueError: no"]


def test_a_file_where_a_job_has_its_folder_is_named(sweep):
    shutil.rmtree(sweep / DAMAGED)
    (sweep / DAMAGED).write_text("in the way")
    (job,) = read_sweep(sweep).unfinished
    assert (job.state, job.name) == (State.UNREADABLE, DAMAGED)
    assert job.reason.endswith("is a file: move it away")


def test_many_jobs_are_named_up_to_a_dozen(sweep):
    for number in range(30):
        _say(make_run(sweep, "mix", number, 1.0, strength=0.5), status="failed", error=f"of {number}\nand more")
    lines = unfinished_lines(read_sweep(sweep))
    assert len(lines) == 13
    assert lines[-1] == "and 18 more"
    assert not any("\n" in line for line in lines)


def test_a_record_of_an_earlier_version_leaves_missing_jobs_unknown(sweep):
    (sweep / "commands.jsonl").write_text('{"folder": "/", "words": []}\n')
    shutil.rmtree(sweep / DAMAGED)
    assert counts_of(read_sweep(sweep)) == "rl: 3 jobs finished; how many there should be is not recorded"
    assert read_sweep(sweep).is_complete
    _say(sweep / "full-None-0", status="failed", error="no")
    assert "Jobs that never began are unknown" in lines_below(read_sweep(sweep))[-1]


@pytest.mark.parametrize(
    "line", ['{"fold', "[]", '{"words": [], "jobs": {"a": 1}}', '{"words": [], "jobs": ["a"]}', "\0\0", ""]
)
def test_a_damaged_record_is_named_and_its_whole_lines_count(sweep, line):
    path = sweep / "commands.jsonl"
    record = path.read_text() if line else ""
    path.write_text(f"{line}\n{record}" if line else "")
    shutil.rmtree(sweep / DAMAGED)
    found = read_sweep(sweep)
    assert not found.is_complete
    lines = "\n".join(lines_below(found))
    assert f"{path} is {'damaged: 1 of its 2 lines' if line else 'empty'}; jobs that never began may be unknown." in lines
    assert ("3 of 4 jobs finished; 1 missing" if line else "3 jobs finished; how many there should be cannot be read") in lines
    assert "earlier version" not in lines


def test_a_sweep_none_of_whose_jobs_began_has_them_missing(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "commands.jsonl").write_text(
        json.dumps({"folder": "/", "words": [], "jobs": {"a": "", "b": ""}}) + "\n"
    )
    found = read_sweep(tmp_path / "new")
    assert counts_of(found) == "new: 0 of 2 jobs finished; 2 missing"
    assert tabulate(found) == []
    with pytest.raises(ResultsError, match=r"none of its 2 runs is finished yet \(missing\)\.\nnew: 0 of 2 jobs finished"):
        write_report(tmp_path / "new")
    assert newest_sweep(tmp_path).name == "new"


def test_one_run_by_itself_is_read(sweep):
    found = read_sweep(sweep / DAMAGED)
    assert (found.name, len(found)) == (DAMAGED, 1)
    _say(sweep / DAMAGED, status="interrupted")
    assert lines_below(read_sweep(sweep / DAMAGED))[-1] == f"`drpt resume {sweep}` runs the unfinished jobs."


def test_folders_of_something_else_are_no_jobs(sweep):
    (sweep / "notes").mkdir()
    (sweep / "notes" / "words.txt").write_text("mine")
    assert read_sweep(sweep).is_complete


# --- reports that cannot be written


@pytest.mark.parametrize("name", ["table.csv", "chart.png", "report.html"])
def test_a_folder_in_the_place_of_a_file_leaves_the_other_two(sweep, name):
    (sweep / name).mkdir()
    report = write_report(sweep)
    ((path, fault),) = report.faults.items()
    assert path == sweep / name
    assert fault.startswith(f"{path}: this is a folder, but a file is needed there. Move it away")
    assert len(report.written) == 2
    assert all(path.is_file() for path in report.written.values())
    assert len(report.rows) == 3


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "Make room"), (errno.EROFS, "writable, or use another"), (errno.EIO, "Remove the cause")],
)
def test_a_disk_that_takes_nothing_is_said_with_the_remedy(sweep, monkeypatch, number, remedy):
    def write(path, content):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("drpt.analysis.report.write_atomically", write)
    report = write_report(sweep)
    assert report.written == {}
    assert len(report.rows) == 3
    for path, fault in report.faults.items():
        assert fault.startswith(f"{path}: ")
        assert remedy in fault
        assert "\n" not in fault


def test_a_chart_that_cannot_be_drawn_leaves_table_and_page(sweep, monkeypatch):
    monkeypatch.setattr("drpt.analysis.report.draw_chart", lambda *_: 1 / 0)
    report = write_report(sweep)
    assert list(report.written) == ["page", "table"]
    assert "could not be created (ZeroDivisionError: division by zero)" in report.faults[sweep / "chart.png"]


def test_names_with_dollar_signs_are_drawn(sweep, tmp_path):
    report = write_report(sweep.rename(tmp_path / "a$\\b$"))
    assert report.faults == {}
