"""Templates that ask for today's date are given the day on which their run began, whatever day it goes on."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from drpt.app.run_data import RunData, check_data_are_the_same, read_record, recorded_date, write_record
from drpt.data import module
from drpt.data.chat import encode_chat
from drpt.data.example import Message
from drpt.data.pools import Pools
from drpt.models.chat_renderer import ChatStyle
from drpt.models.tiny import byte_tokenizer
from tests.app.test_same_data import WORDS, write
from tests.data.chat_templates import DATED
from tests.models.folders import llama, save


class Clock(datetime):
    """A clock that stands still."""

    today_is = datetime(2026, 1, 31, 23, 58)

    @classmethod
    def now(cls, tz=None):
        return cls.today_is


@pytest.fixture
def clock(monkeypatch):
    """What the run's record and templates themselves take for now."""
    monkeypatch.setattr("drpt.app.run_data.datetime", Clock)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    monkeypatch.setattr(Clock, "today_is", Clock.today_is)
    return Clock


@pytest.fixture
def seen(monkeypatch):
    """Texts that runs are trained and evaluated on, one list a run."""
    runs = []
    encode = module.encode_examples

    def spy(tokenizer, examples, **options):
        pool = encode(tokenizer, examples, **options)
        runs.append([tokenizer.decode(ids) for row in pool.examples for ids in (row.token_ids, row.prompt_ids)])
        return pool

    monkeypatch.setattr(module, "encode_examples", spy)
    return runs


@pytest.mark.long
def test_the_date_is_frozen_at_the_runs_start_and_kept(drpt, clock, seen):
    write("general")
    write("target")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = DATED
    save(Path("here"), llama(max_position_embeddings=256), tokenizer=tokenizer)
    words = [word if "max_length" not in word else "data.max_length=256" for word in WORDS]
    status, text = drpt("train", *words)
    assert status == 0, text
    first = [*seen]
    assert all("Today is 31 January 2026, 23:58." in line for pool in first for line in pool)
    assert sum(map(len, first)) > 20
    (folder,) = Path("runs/data").glob("mix-*")
    assert json.loads((folder / "data.json").read_text())["date"] == "2026-01-31T23:58:00"

    clock.today_is = datetime(2026, 2, 1, 8, 0)
    summary = folder / "summary.json"
    for lost in ((), ("data.json",), ("checkpoints",)):  # the record, the checkpoint and either alone know it
        for name in lost:
            place = folder / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"status": "running"}))
        seen.clear()
        status, text = drpt("train", *words)
        assert status == 0, text
        assert seen == first
        assert json.loads((folder / "data.json").read_text())["date"] == "2026-01-31T23:58:00"

    seen.clear()
    assert drpt("train", *words, "seed=1")[0] == 0  # another run, another day
    assert all("Today is 01 February 2026, 08:00." in line for pool in seen for line in pool)
    status, text = drpt("outcome", "runs/data")
    assert status in (0, 2), text
    assert "Traceback" not in text


@pytest.mark.parametrize("record", [{}, {"date": None}, {"date": "yesterday"}, {"date": 3}])
def test_a_record_without_a_readable_date_says_nothing(record):
    assert recorded_date(record) is None


def test_a_run_that_goes_on_keeps_its_date_and_another_day_is_no_other_run(tmp_path):
    pools = Pools(general=[], target=[], stopping=[], evaluation=[])
    first, later = datetime(2026, 1, 31, 23, 58), datetime(2026, 2, 1, 8)
    begun = RunData(pools=pools, fingerprints={"source": "a"}, date=first)
    write_record(tmp_path, begun)
    again = RunData(pools=pools, fingerprints={"source": "a"}, date=later)
    assert again.begun({}, read_record(tmp_path)).date == first
    assert again.begun(begun.remembered, {}).date == first  # as a checkpoint knows it
    assert again.begun({}, {"source": "a"}).date == later  # begun before dates were kept
    prints = dict.fromkeys(("fingerprint", "source", "tokenizer", "model", "adapter", "reward"), "a")
    check_data_are_the_same(tmp_path, prints | {"date": later.isoformat()}, prints | begun.remembered)


def test_a_template_is_given_the_date_of_the_run():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = DATED
    turns = (Message(role="user", content="Hi"), Message(role="assistant", content="Hello"))
    style = ChatStyle(date=datetime(2026, 1, 31, 23, 58))
    ids, _, prompt_ids = encode_chat(tokenizer, turns, style=style)
    for some in (ids, prompt_ids):
        assert tokenizer.decode(some).startswith("<|im_start|>system\nToday is 31 January 2026, 23:58.<|im_end|>\n")
    of_the_day, _, _ = encode_chat(tokenizer, turns)
    assert f"{datetime.now():%Y}" in tokenizer.decode(of_the_day)
