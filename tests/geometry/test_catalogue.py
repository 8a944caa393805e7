"""What the catalogue says of every set and score is complete, and its curves can be told apart."""

import pytest

from drpt.geometry.catalogue import SCORES, SETS


@pytest.mark.parametrize("name", SETS)
def test_every_entry_says_what_a_reader_asks(name):
    entry = SETS[name]
    assert entry.target.startswith("drpt.geometry.")
    assert entry.formula
    assert entry.update
    assert entry.source
    for curve in entry.curves:
        domain = entry.strength
        assert all(domain is not None and domain.admits(strength) for strength in curve.strengths)
        assert curve.score in SCORES
        assert not curve.relaxations or len(curve.strengths) == 1
        assert not curve.has_auto or entry.offers_auto
    if entry.strength is None:
        assert not entry.offers_auto


def test_curves_have_names_and_colours_of_their_own():
    curves = [curve for entry in SETS.values() for curve in entry.curves]
    assert len({curve.name for curve in curves}) == len({curve.colour for curve in curves}) == len(curves)


def test_only_signed_scores_serve_sets_that_need_a_sign():
    assert [name for name, entry in SETS.items() if entry.needs_sign] == ["filter"]
    assert [name for name, entry in SCORES.items() if entry.is_signed] == ["alignment"]
