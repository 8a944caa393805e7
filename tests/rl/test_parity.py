"""Log-probabilities of engine and trainer, compared."""

import math

import pytest
import torch

from drpt.rl.parity import BOUNDS, Mismatch, StaleWeightsError, check_parity, measure_mismatch
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.spec import DTYPES


def test_differences_by_hand():
    found = measure_mismatch([[-1.0, -2.0], [-3.0]], [[-1.0, -1.5], [-4.0]])
    assert found.mean == pytest.approx(0.5)
    assert found.max == pytest.approx(1.0)
    assert found.ratio == pytest.approx((1 + math.exp(0.5) + math.exp(-1.0)) / 3)
    assert found.num_tokens == 3
    assert found.metrics() == {"mismatch/mean": found.mean, "mismatch/max": found.max, "importance_ratio/mean": found.ratio}


def test_tensors_are_taken_as_well():
    assert measure_mismatch([torch.tensor([-1.0])], [torch.tensor([-1.25])]).mean == pytest.approx(0.25)


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_what_is_no_number_is_no_match(broken):
    found = measure_mismatch([[-1.0, broken]], [[-1.0, -1.0]])
    assert found.mean == math.inf
    with pytest.raises(StaleWeightsError):
        check_parity(found, dtype="bfloat16", bound=1e9)


def test_other_tokens_are_refused():
    with pytest.raises(ValueError, match=r"the same tokens, at least one: responses of \[1\] and of \[2\] tokens"):
        measure_mismatch([[-1.0]], [[-1.0, -1.0]])
    with pytest.raises(ValueError, match="at least one"):
        measure_mismatch([], [])


def test_every_dtype_has_a_bound():
    assert set(BOUNDS) == set(DTYPES)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_means_above_the_bound_stop_the_run_with_numbers_and_remedies(dtype):
    at = Mismatch(mean=BOUNDS[dtype], max=1.0, ratio=1.0, num_tokens=5)
    check_parity(at, dtype=dtype, bound=None)
    above = Mismatch(mean=BOUNDS[dtype] * 1.01, max=1.5, ratio=0.9, num_tokens=5)
    check_parity(above, dtype=dtype, bound=1.0)
    numbers = rf"nats on average, 1\.5 at most \(importance ratio 0\.9, 5 tokens\); rollout\.dtype={dtype} allows"
    with pytest.raises(StaleWeightsError, match=numbers) as caught:
        check_parity(above, dtype=dtype, bound=None)
    assert isinstance(caught.value, RolloutError)
    for words in ("another run synced", "rollout=transformers", "rollout.parity_bound", "trainer.precision"):
        assert words in str(caught.value)
    with pytest.raises(StaleWeightsError, match=r"rollout\.parity_bound allows 1e-05"):
        check_parity(above, dtype=dtype, bound=1e-5)
