"""The trainer finds everything as it left it, whatever the engine did."""

import gc
import logging
import os
import random
import signal
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist

from drpt.models.merged import merged_weights
from drpt.models.tiny import tiny_model
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.isolation import Isolation
from tests.rollouts.helpers import PROMPTS, sampling

FUNCTIONS = (
    (torch, ("set_num_threads", "Event")),
    (torch.cuda, ("Event", "Stream", "current_stream", "stream")),
    (torch.accelerator, ("synchronize", "empty_cache", "get_memory_info")),
    (torch.Tensor, ("pin_memory", "record_stream")),
    (dist, ("destroy_process_group", "init_process_group")),
)


def state_of_the_trainer():
    loggers = [logging.getLogger(name) for name in (None, "vllm", "torch", "transformers", "drpt")]
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "functions": [getattr(owner, name) for owner, names in FUNCTIONS for name in names],
        "environment": dict(os.environ),
        "group": dist.is_initialized(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "precision": torch.get_float32_matmul_precision(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)],
        "hook": sys.excepthook,
        "filters": list(warnings.filters),
        "loggers": [(logger.level, list(logger.handlers), logger.propagate, logger.disabled) for logger in loggers],
        "records": logging.getLogRecordFactory(),
        "frozen": gc.get_freeze_count(),
        "cores": os.sched_getaffinity(0),
        "folder": os.getcwd(),
    }


@pytest.fixture
def trainer(monkeypatch):
    """A trainer with habits of its own."""
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("VLLM_DIST_IDENT", "mine")
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(2)
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


@pytest.mark.vllm
def test_an_engines_whole_life_leaves_the_trainer_as_it_was(trainer, shared_vllm, vllm_settings):
    from drpt.rollouts.vllm_engine import VllmRollout

    shared_vllm.close()
    before = state_of_the_trainer()

    def assert_untouched():
        after = state_of_the_trainer()
        for name, value in before.items():
            assert after[name] == value, name

    engine = VllmRollout(**vllm_settings)
    try:
        assert_untouched()
        engine.generate(PROMPTS, sampling())
        assert_untouched()
        engine.sync(merged_weights(tiny_model()))
        assert_untouched()
        with pytest.raises(RolloutError):
            engine.sync([])
        assert_untouched()
    finally:
        engine.close()
    assert_untouched()


@pytest.mark.vllm
def test_a_group_that_the_trainer_makes_while_an_engine_lives_outlives_it(shared_vllm, vllm, tmp_path):
    assert not dist.is_initialized()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        groups = vllm.generate(PROMPTS, sampling())
        vllm.sync(merged_weights(tiny_model()))
        assert vllm.generate(PROMPTS, sampling()) == groups
        shared_vllm.close()
        total = torch.ones(1)
        dist.all_reduce(total)  # the group lives
        engine = shared_vllm.get()  # built inside the trainer's group, which then goes first
    finally:
        dist.destroy_process_group()
    assert engine.generate(PROMPTS, sampling()) == groups
    shared_vllm.close()
    assert shared_vllm.get().generate(PROMPTS, sampling()) == groups


def test_changes_of_the_environment_are_there_again_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("DRPT_TEST_KEPT", "trainer")
    monkeypatch.setenv("DRPT_TEST_REMOVED", "trainer")
    isolation = Isolation({"DRPT_TEST_GIVEN": "1"}, threads=None)
    with isolation.entered():
        assert os.environ["DRPT_TEST_GIVEN"] == "1"
        os.environ["DRPT_TEST_KEPT"] = "engine"
        del os.environ["DRPT_TEST_REMOVED"]
    assert "DRPT_TEST_GIVEN" not in os.environ
    assert os.environ["DRPT_TEST_KEPT"] == os.environ["DRPT_TEST_REMOVED"] == "trainer"
    monkeypatch.setenv("DRPT_TEST_KEPT", "trainer, later")
    with isolation.entered():
        assert os.environ["DRPT_TEST_GIVEN"] == "1"
        assert os.environ["DRPT_TEST_KEPT"] == "engine"
        assert "DRPT_TEST_REMOVED" not in os.environ
    assert os.environ["DRPT_TEST_KEPT"] == "trainer, later"


def test_the_engine_has_its_own_threads_also_when_it_forbids_to_change_them():
    own = torch.get_num_threads()
    isolation = Isolation({}, threads=own + 1)
    for _ in range(2):
        with isolation.entered():
            assert torch.get_num_threads() == own + 1
            torch.set_num_threads = print
        assert torch.get_num_threads() == own
        assert torch.set_num_threads is torch._C.set_num_threads


def interrupted_engine():
    with Isolation({"DRPT_TEST_GIVEN": "1"}, threads=1).entered():
        torch.manual_seed(4)
        random.seed(4)
        np.random.seed(4)
        gc.freeze()
        warnings.simplefilter("always")
        torch.Tensor.pin_memory = print
        raise KeyboardInterrupt


def test_everything_is_put_back_after_an_error():
    torch.manual_seed(3)
    before = state_of_the_trainer()
    with pytest.raises(KeyboardInterrupt):
        interrupted_engine()
    assert state_of_the_trainer() == before


def test_a_group_of_the_engines_is_taken_away_and_the_trainers_stays(tmp_path):
    hook = sys.excepthook

    def begin(place):
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/{place}", rank=0, world_size=1)

    isolation = Isolation({}, threads=None)
    with isolation.entered():
        begin("engine")
        group = dist.new_group([0])
    assert not dist.is_initialized()
    assert sys.excepthook is hook
    begin("trainer")
    try:
        with isolation.entered():
            dist.destroy_process_group(group)  # gone with its default group
            dist.destroy_process_group(dist.new_group([0]))
            dist.destroy_process_group()
        assert dist.is_initialized()
        dist.all_reduce(torch.ones(1))
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


def test_remarks_and_warnings_are_kept_from_the_trainer(caplog):
    with Isolation({}, threads=None).entered():
        warnings.warn("about a library", stacklevel=1)
        logging.getLogger("vllm.engine").warning("not found in LD_PRELOAD")
        logging.getLogger("vllm.engine").error("died")
    assert [record.message for record in caplog.records] == ["died"]
