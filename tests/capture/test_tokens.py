"""What is computed once for several modules that share their activations, and that it does not pile up."""

import torch

from drpt.capture.segments import Layout
from drpt.capture.tokens import RecentTokens, TokenVectors


def counted(calls, value=1.0, size=10):
    def compute(values):
        calls.append(value)
        return torch.full((size,), value)

    return compute


def test_shared_activations_are_computed_with_once():
    recent, layout, calls = RecentTokens(), Layout(range(2)), []
    activations = torch.randn(2, 3, 4)
    for _ in range(3):  # as of q, k and v
        vectors, _ = recent.vectors(activations, layout)
        vectors.once("sketch", counted(calls))
    assert len(calls) == 1
    recent.vectors(torch.randn(2, 3, 4), layout)[0].once("sketch", counted(calls))
    assert len(calls) == 2, "other activations have results of their own"
    activations.add_(1.0)
    recent.vectors(activations, layout)[0].once("sketch", counted(calls))
    assert len(calls) == 3, "and so have those that were changed"


def test_what_nothing_else_will_ask_for_is_not_remembered():
    calls = []
    vectors = TokenVectors(torch.randn(3, 4))
    for _ in range(2):
        vectors.once("sketch", counted(calls))
    assert len(calls) == 2


def test_results_are_remembered_within_a_bound(monkeypatch):
    monkeypatch.setattr("drpt.capture.tokens.REMEMBERED_BYTES", 3 * 40)
    recent, layout, calls = RecentTokens(), Layout(range(2)), []
    vectors, _ = recent.vectors(torch.randn(2, 3, 4), layout)
    for name in (0.0, 1.0, 2.0, 0.0, 3.0, 0.0, 1.0):
        assert vectors.once(name, counted(calls, name))[0] == name
    assert calls == [0.0, 1.0, 2.0, 3.0, 1.0], "the one that was not asked for the longest went"
    assert len(vectors.once("large", counted(calls, 9.0, size=100))) == 100
    vectors.once("large", counted(calls, 9.0, size=100))
    assert calls[5:] == [9.0, 9.0], "what is beyond the bound is computed every time"
    assert recent._memo._num_bytes == 3 * 40, "and the others stay"
