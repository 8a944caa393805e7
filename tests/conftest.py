"""What every test shares."""

import os

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# The same examples on every machine and every day, however slow or busy it is: a red run can be repeated.
settings.register_profile("drpt", deadline=None, derandomize=True)
settings.load_profile("drpt")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
