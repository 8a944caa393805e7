import sys

import pytest
import torch

from drpt.evaluation.cost import CostMeter
from drpt.memory import keep_freed_memory, release_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own account of memory")
def test_peak_is_that_of_the_step_and_freed_memory_goes_back():
    keep_freed_memory()
    meter = CostMeter(torch.device("cpu"))

    def peak_of_a_step(num_bytes):
        release_memory()
        with meter.step():
            torch.ones(num_bytes // 4)
        return meter.metrics["train/peak_memory_bytes/value"]

    small, large, again = (peak_of_a_step(size) for size in (1_000_000, 300_000_000, 1_000_000))
    assert large - small == pytest.approx(300_000_000, rel=0.1)  # other pages of the process come and go
    assert again - small < 50_000_000
    assert meter.metrics["train/step_seconds/value"] > 0
