"""The file of rollout phases: written as they come, cut back with a resumption, read as tables."""

from types import SimpleNamespace

import pytest

from drpt.modules.rollout_tables import ROLLOUTS_FILE, SAMPLES_A_PHASE, RolloutTables, read_rollouts, rollout_tables
from drpt.rl.phase import Phase


def phase(index, *, num_samples=2):
    return Phase(
        index=index,
        general=[],
        target=[],
        outcomes=[{"term": "correct", "outcome": "wrong", "count": 3, "share": 1.0}],
        samples=[{"prompt": "2 + 2 =", "answer": f"é{index}.{i}\n"} for i in range(num_samples)],
    )


def train(tables, steps):
    """Steps as numbers of phases: ``{1: 0, 2: 0, 3: 1}``."""
    for step, number in steps.items():
        latest = None if number is None else phase(number)
        tables.on_train_batch_end(SimpleNamespace(global_step=step), SimpleNamespace(latest=latest), None, None, 0)


def test_a_line_a_phase(tmp_path):
    train(RolloutTables(tmp_path, resume_step=0), {1: 0, 2: 0, 3: 1, 4: 1})
    lines = read_rollouts(tmp_path / ROLLOUTS_FILE)
    assert [(line["step"], line["phase"]) for line in lines] == [(1, 0), (3, 1)]
    assert lines[1]["samples"][0] == {"prompt": "2 + 2 =", "answer": "é1.0\n"}


def test_a_few_samples_are_kept(tmp_path):
    tables = RolloutTables(tmp_path, resume_step=0)
    module = SimpleNamespace(latest=phase(0, num_samples=SAMPLES_A_PHASE + 3))
    tables.on_train_batch_end(SimpleNamespace(global_step=1), module, None, None, 0)
    assert len(read_rollouts(tmp_path / ROLLOUTS_FILE)[0]["samples"]) == SAMPLES_A_PHASE


def test_a_resumption_drops_what_was_lost_and_writes_no_phase_twice(tmp_path):
    train(RolloutTables(tmp_path, resume_step=0), {1: 0, 2: 0, 3: 1, 4: 1, 5: 2})
    resumed = RolloutTables(tmp_path, resume_step=4)  # in the middle of phase 1, or at its end
    assert [line["phase"] for line in read_rollouts(tmp_path / ROLLOUTS_FILE)] == [0, 1]
    train(resumed, {5: None, 6: 1, 7: 2})
    lines = read_rollouts(tmp_path / ROLLOUTS_FILE)
    assert [(line["step"], line["phase"]) for line in lines] == [(1, 0), (3, 1), (7, 2)]


def test_a_run_from_the_start_begins_an_empty_file(tmp_path):
    train(RolloutTables(tmp_path, resume_step=0), {1: 0})
    RolloutTables(tmp_path, resume_step=0)
    assert read_rollouts(tmp_path / ROLLOUTS_FILE) == []


def test_a_line_that_an_interruption_cut_is_left_out(tmp_path):
    train(RolloutTables(tmp_path, resume_step=0), {1: 0, 3: 1})
    path = tmp_path / ROLLOUTS_FILE
    path.write_text(path.read_text()[:-20])
    assert [line["phase"] for line in read_rollouts(path)] == [0]
    train(RolloutTables(tmp_path, resume_step=2), {3: 1})
    assert [line["phase"] for line in read_rollouts(path)] == [0, 1]


def test_a_malformed_line_is_named(tmp_path):
    path = tmp_path / ROLLOUTS_FILE
    path.write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"rollouts\.jsonl:1: not a line of rollouts"):
        read_rollouts(path)


def test_texts_may_hold_any_character(tmp_path):
    """Some characters end a line for Python, and are none of JSON's."""
    tables = RolloutTables(tmp_path, resume_step=0)
    strange = phase(0)
    strange.samples[0]["answer"] = "a\u2028b\x85c\x0cd\r\n\ud800é"
    tables.on_train_batch_end(SimpleNamespace(global_step=1), SimpleNamespace(latest=strange), None, None, 0)
    train(tables, {2: 1})
    lines = read_rollouts(tmp_path / ROLLOUTS_FILE)
    assert [line["phase"] for line in lines] == [0, 1]
    assert lines[0]["samples"][0]["answer"] == "a\u2028b\x85c\x0cd\r\n\ud800é"
    RolloutTables(tmp_path, resume_step=2)
    assert read_rollouts(tmp_path / ROLLOUTS_FILE) == lines


def test_tables_are_flat(tmp_path):
    assert rollout_tables(tmp_path) == {}
    train(RolloutTables(tmp_path, resume_step=0), {1: 0, 3: 1})
    tables = rollout_tables(tmp_path)
    assert tables["outcomes"][1] == {"step": 3, "term": "correct", "outcome": "wrong", "count": 3, "share": 1.0}
    assert [(row["step"], row["answer"]) for row in tables["generations"]] == [
        (1, "é0.0\n"),
        (1, "é0.1\n"),
        (3, "é1.0\n"),
        (3, "é1.1\n"),
    ]
