"""A set and a score from outside the package are explained, listed, trained with and shown like ours."""

from tests.app.conftest import TINY

RAY, EARLIEST = "tests.geometry.outside.MeanRay", "tests.geometry.outside.EarliestScore"


def test_a_set_from_outside_is_explained_like_ours(drpt):
    status, text = drpt("explain", "layerwise_hull", f"regularizer.set={RAY}", "regularizer.strength=0.5", "model=tiny")
    assert status == 0, text
    text = " ".join(text.split())
    assert f"set {RAY} = {{t ḡ : 0 ≤ t ≤ 1/λ}}" in text
    assert "update the multiple of the general mean that is closest to v" in text
    assert "related lies within `cone`" in text
    assert "strength λ = 0.5 of (0, 1]: the longest multiple is 1/λ" in text
    assert "λ → 0: the whole ray" in text
    assert "the gramian <g_i, g_j> [n, n]" in text
    assert "plan of tiny" in text
    status, text = drpt("explain", "layerwise_subset", f"regularizer.score={EARLIEST}", "model=tiny")
    assert status == 0, text
    assert f"score {EARLIEST}: minus the example's id: a curriculum" in " ".join(text.split())


def test_help_explains_a_set_that_the_words_name(drpt):
    status, text = drpt("train", f"regularizer.set={RAY}", "--help")
    assert status == 0, text
    assert f"{RAY}: {{t ḡ : 0 ≤ t ≤ 1/λ}}; the multiple of the general mean" in text
    assert "λ in (0, 1]: the longest multiple is 1/λ" in text
    status, text = drpt("train", "regularizer.set=tests.geometry.outside.Nobody", "--help")
    assert status == 2
    assert "cannot be imported" in text


def test_values_are_held_to_what_the_class_says(drpt):
    status, text = drpt("train", *TINY, f"regularizer.set={RAY}", "regularizer.strength=3")
    assert status == 2
    assert "must lie in (0, 1]" in " ".join(text.split())


def test_a_set_from_outside_trains_and_stands_in_the_table(drpt):
    own = ("regularizer=layerwise_hull", f"regularizer.set={RAY}", "regularizer.name=mean_ray", "regularizer.strength=auto")
    status, text = drpt("train", *TINY, *own, "sweep=own")
    assert status == 0, text
    assert "mean_ray λ=auto" in " ".join(text.split())
