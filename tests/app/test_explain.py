"""`drpt explain`: every preset and every set in words."""

import pytest

from drpt.app.paths import config_folder
from drpt.geometry.catalogue import SETS

PRESETS = sorted(path.stem for path in config_folder().glob("regularizer/*.yaml"))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_explained(drpt, name):
    status, text = drpt("explain", name)
    assert status == 0, text
    assert text.startswith(name)
    for heading in ("set ", "update ", "from ", "blocks ", "relaxation ", "rows ", "costs "):
        assert f"\n{heading}" in text


def test_strengths_and_needs_are_told(drpt):
    _, text = drpt("explain", "regularizer=layerwise_span", "regularizer.strength=auto")
    text = " ".join(text.split())
    assert "λ → ∞: towards a vanishing update" in text
    assert "auto: the strength with the smallest estimated error, of 0, 0.001" in text
    assert "<v_j, v_k> [m, m]" in text
    _, text = drpt("explain", "regularizer=mix", "regularizer.strength=auto")
    assert "in closed form" in text
    _, text = drpt("explain", "regularizer=full")
    assert "nothing: one weighted loss gives the update" in text
    _, text = drpt("explain", "regularizer=layerwise_subset", "regularizer.relaxation=auto")
    assert "ρ = auto" in text


def test_all_sets_in_short(drpt):
    status, text = drpt("explain")
    assert status == 0
    for name in SETS:
        assert f"\n{name} " in text


def test_mistakes_are_explained(drpt):
    status, text = drpt("explain", "regularizer=layerwise_hul")
    assert status == 2
    assert "Choices: " in text
    assert "layerwise_hull" in text
    status, text = drpt("explain", "regularizer=gem", "regularizer.strength=auto")
    assert status == 2
    assert "relaxation=auto" in text
