"""What every test shares."""

import logging
import os

import pytest
import torch
import transformers.utils.logging as transformers_logging
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

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
