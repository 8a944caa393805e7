"""Imported once by the process that runs are forked from."""

import gc
import os
from importlib import import_module

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

for _name in (
    "drpt.analysis.report",
    "matplotlib.backends.backend_agg",
    "peft",
    "transformers.models.llama.modeling_llama",
    "drpt.app.environment",
    "drpt.app.launch",
    "drpt.app.outcome",
    "drpt.app.training",
    "drpt.data.reasoning",
    "drpt.models.tiny",
    "drpt.rewards.sentiment",
    "drpt.rollouts.transformers_engine",
):
    import_module(_name)
gc.collect()
gc.freeze()  # or each run would look through all of it again and again
