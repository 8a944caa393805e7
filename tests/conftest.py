"""What every test shares."""

import logging
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the imports below: libraries of the hub read it once, at theirs
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch
import transformers.utils.logging as transformers_logging
from hypothesis import settings

# The same examples on every machine and every day, however slow or busy it is: a red run can be repeated.
settings.register_profile("drpt", deadline=None, derandomize=True)
settings.load_profile("drpt")

# Transformers keeps the standard error that it found at its first word, which is one test's, closed in the next one.
# Python's own last resort looks up `sys.stderr` at every word.
transformers_logging.disable_default_handler()
transformers_logging.add_handler(logging.lastResort)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logs_of_this_test_alone():
    """A command run in this process gives the root logger handlers; their streams are closed when its test ends.

    Under CI (the variable) transformers sends its words to the root logger, too.
    """
    before = logging.root.handlers[:]
    yield
    for handler in logging.root.handlers[:]:
        if handler not in before:
            logging.root.removeHandler(handler)
            handler.close()
