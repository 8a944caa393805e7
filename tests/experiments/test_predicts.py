"""The rank correlation between probe and training: pairing rules, and its interval."""

import numpy as np
import pytest

from experiments.bias_variance.predicts import Pair, correlate, rule_of, spearman


def pairs(errors, losses):
    return [
        Pair(label=str(i), name="mix", mse=error, mse_stderr=0.01, cosine=1 - error, losses=dict(enumerate(own)))
        for i, (error, own) in enumerate(zip(errors, losses, strict=True))
    ]


def test_rank_correlation_by_hand():
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0])) == pytest.approx(0.5)
    assert spearman(np.array([1.0, 1.0, 3.0]), np.array([2.0, 2.0, 5.0])) == pytest.approx(1.0)


def test_interval_holds_the_estimate_and_shrinks_with_agreement():
    sure = correlate(pairs([0.1, 0.4, 0.7, 1.0], [[1, 1.1, 1.2], [2, 2.1, 2.2], [3, 3.1, 3.2], [4, 4.1, 4.2]]), "mse")
    assert sure == pytest.approx({"rho": 1.0, "low": 1.0, "high": 1.0})
    unsure = correlate(pairs([0.1, 0.4, 0.7, 1.0], [[1, 4, 1], [2, 1, 3], [3, 2, 1], [4, 1, 4]]), "mse")
    assert unsure["low"] <= unsure["rho"] <= unsure["high"]
    assert unsure["high"] - unsure["low"] > 0.3
    assert correlate(pairs([0.1, 0.4, 0.7], [[1, 1], [2, 2], [3, 3]]), "cosine")["rho"] == 1.0


def test_a_rule_is_what_decides_its_update():
    mix = {
        "set": "ball",
        "partition": "global",
        "score": "alignment",
        "strength": 0.5,
        "relaxation": 0.0,
        "base_weights": "token",
    }
    assert rule_of(mix) == rule_of(mix | {"partition": "layer", "score": "random"})
    assert rule_of(mix | {"strength": "auto"}) != rule_of(mix | {"strength": "auto", "partition": "layer"})
    assert rule_of(mix) != rule_of(mix | {"base_weights": "example"})
    subset = mix | {"set": "subset"}
    assert rule_of(subset) != rule_of(subset | {"score": "random"})
    assert rule_of(subset) != rule_of(subset | {"partition": "layer"})
    cone = mix | {"set": "cone", "strength": None}
    assert rule_of(cone) == rule_of(cone | {"strength": 0.0})
