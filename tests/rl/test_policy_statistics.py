import math
from dataclasses import replace

import pytest
import torch

from drpt.objectives.policy import ResponseTokens
from drpt.rl.choices import KlGradient
from drpt.rl.grpo import PolicyRows, PolicyTerms
from drpt.rl.policy_statistics import policy_statistics

TERMS = PolicyTerms(clip_low=0.2, clip_high=0.3, importance_cap=1.5, kl_coefficient=0.0, kl_gradient=KlGradient.K3)


def worked_rows():
    """Ratios 2 and 1 in a row with A > 0, 1/2 in one with A < 0; a third row without tokens, and NaN outside the mask."""
    logprobs = torch.tensor([[math.nan, -1.0, -1.0], [math.nan, -1.0, math.nan], [math.nan] * 3], dtype=torch.float64)
    old = torch.log(torch.tensor([[1.0, 2.0, 1.0], [1.0, 0.5, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64))
    rows = PolicyRows(
        old_logprobs=logprobs - old,
        advantages=torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64),
        response_mask=torch.tensor([[False, True, True], [False, True, False], [True, False, False]]),
        engine_logprobs=logprobs - old - torch.log(torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)),
        reference_logprobs=logprobs + torch.log(torch.tensor([1.0, 3.0, 1.0], dtype=torch.float64)),
    )
    entropies = torch.tensor([[9.0, 0.5, 1.5], [9.0, 4.0, 9.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
    return ResponseTokens(logprobs=logprobs, entropies=entropies), rows


def test_worked_values():
    """Three tokens: ratios 2, 1, 1/2; π_old/π_engine = 2, 1, 2; ref/π = 3, 1, 3."""
    tokens, rows = worked_rows()
    statistics = policy_statistics(tokens, rows, TERMS)
    assert statistics.num_tokens == 3
    log2, k3_of_3 = math.log(2), 3 - math.log(3) - 1
    assert statistics.means() == pytest.approx(
        {
            "ratio": 3.5 / 3,
            "clipped_low": 1 / 3,
            "clipped_high": 1 / 3,
            "kl_old": ((2 - log2 - 1) + (0.5 + log2 - 1)) / 3,
            "entropy": 2.0,
            "kl_reference": (2 * k3_of_3 + 0.5 * k3_of_3) / 3,
            "engine_difference": 2 * log2 / 3,
            "engine_capped": 2 / 3,
            "log_ratio_cut": 0.0,
        },
        rel=1e-12,
    )


def test_batches_add_up():
    tokens, rows = worked_rows()
    whole = policy_statistics(tokens, rows, TERMS)
    parts = []
    for i in range(3):
        names = ("old_logprobs", "advantages", "response_mask", "engine_logprobs", "reference_logprobs")
        part = PolicyRows(**{name: getattr(rows, name)[i : i + 1] for name in names})
        own = ResponseTokens(logprobs=tokens.logprobs[i : i + 1], entropies=tokens.entropies[i : i + 1])
        parts.append(policy_statistics(own, part, TERMS))
    merged = parts[0] + parts[1] + parts[2]
    assert merged.num_tokens == whole.num_tokens
    assert merged.means() == pytest.approx(whole.means(), rel=1e-12)


def test_no_token_means_zero_and_not_nan():
    tokens, rows = worked_rows()
    statistics = policy_statistics(tokens, replace(rows, response_mask=torch.zeros(3, 3, dtype=torch.bool)), TERMS)
    assert statistics.num_tokens == 0
    assert set(statistics.means().values()) == {0.0}


def test_what_is_not_known_is_left_out_and_does_not_merge_with_what_is():
    tokens, rows = worked_rows()
    bare = policy_statistics(tokens, replace(rows, engine_logprobs=None, reference_logprobs=None), TERMS)
    assert set(bare.means()) == {"ratio", "clipped_low", "clipped_high", "kl_old", "entropy", "log_ratio_cut"}
    with pytest.raises(ValueError, match=r"do not add up: engine_capped, engine_difference, kl_reference on one side alone"):
        bare + policy_statistics(tokens, rows, TERMS)


def test_without_a_cap_nothing_is_capped():
    tokens, rows = worked_rows()
    assert policy_statistics(tokens, rows, replace(TERMS, importance_cap=None)).means()["engine_capped"] == 0


def test_sums_are_float64_without_gradient():
    tokens, rows = worked_rows()
    leaf = tokens.logprobs.float().requires_grad_()
    sums = policy_statistics(ResponseTokens(logprobs=leaf, entropies=tokens.entropies), rows, TERMS).sums
    assert all(total.dtype == torch.float64 and not total.requires_grad and total.ndim == 0 for total in sums.values())
