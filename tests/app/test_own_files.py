"""Files of one's own, from the command to the page: sizes are those that were trained and measured on."""

import json
from pathlib import Path

import pytest

from tests.data.lists import sentence

STEPS = (
    *("model=tiny", "logger=off", "trainer.max_steps=2", "evaluation.every_steps=2", "evaluation.num_generate=2"),
    *("evaluation.max_new_tokens=2", "trainer.check_capture=false"),
)


def write(path, count, first, *, num_long=0):
    rows = [
        {"prompt": sentence(first + i, 60 if i < num_long else 4), "response": sentence(first + i, 1)} for i in range(count)
    ]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def summary(sweep):
    (path,) = Path("runs", sweep).glob("*/summary.json")
    return json.loads(path.read_text())


def test_forty_and_forty_examples_run_and_say_what_was_chosen(drpt, monkeypatch):
    write("pool.jsonl", 40, 100)
    write("mine.jsonl", 40, 0, num_long=20)
    sent = []
    monkeypatch.setattr("drpt.app.training.start_tracking", lambda spec, config, *rest: sent.append(config))
    words = ("data=jsonl", "data.source.general=pool.jsonl", "data.source.target=mine.jsonl", "data.max_length=256")
    status, text = drpt("train", *words, *STEPS, "sweep=own")
    assert status == 0, text
    sizes = {"general": 40, "target": 16, "stopping": 0, "evaluation": 4}
    assert "data=jsonl: 40 general and 16 target examples for training, 4 for evaluation" in text
    assert "data.num_eval=128: only 4 evaluation examples remain besides the 16 for training" in text
    assert "data.max_length=256: " in text
    assert "raise data.max_length to keep them" in text
    assert "Trained on 16 target and 40 general examples, measured on 4 held-out ones." in text
    assert summary("own")["data_sizes"] == sizes
    assert sent[0]["data_sizes"] == sizes
    page = Path("runs/own/report.html").read_text()
    assert "target examples" in page
    assert "general examples" in page
    (record,) = Path("runs/own").glob("*/data.json")
    assert json.loads(record.read_text())["sizes"] == sizes
    status, text = drpt("train", *words, *STEPS, "sweep=own")  # met again, it is the same
    assert (status, "already finished" in text or "is finished" in text) == (0, True), text


def test_a_generated_pool_with_a_target_of_ones_own_trains(drpt):
    write("mine.jsonl", 40, 0)
    words = ("data/general=reasoning", "data/target=jsonl", "data.target.source.path=mine.jsonl", "data.num_general=24")
    status, text = drpt("train", *words, *STEPS, "sweep=apart")
    assert status == 0, text
    assert "data=reasoning for jsonl: 24 general and 16 target examples for training, 24 for evaluation" in text
    assert "Trained on 16 target and 24 general examples, measured on 24 held-out ones." in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data/target=jsonl", "data.target.source.path=mine.jsonl"], "mine.jsonl: no such file"),
        (["data/target=jsonl", "data.target.source.path=."], "a folder. Give a file in it"),
        (
            ["data/general=reasoning", "data/target=reasoning", "data.source.target=gcd"],
            "data.source.target=gcd: data/general=… and data/target=… choose both sources",
        ),
    ],
)
def test_what_cannot_be_right_ends_before_anything_is_loaded(drpt, words, message):
    status, text = drpt("train", *words, *STEPS)
    assert status == 2
    assert message in text
    assert not Path("runs").exists()
