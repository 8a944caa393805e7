"""`drpt explain`: every preset and every set in words."""

import pytest

from drpt.app.presets import preset_names
from drpt.geometry.catalogue import SETS
from drpt.rewards.categories import limits_of

PRESETS = preset_names("regularizer")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_explained(drpt, name):
    status, text = drpt("explain", name, "model=tiny")
    assert status == 0, text
    assert text.startswith(name)
    assert "no plan" not in text
    is_plain = "gradient of one weighted loss" in text
    assert ("\nplan of tiny, finetune=lora" in text) != is_plain
    for heading in ("set ", "update ", "from ", "blocks ", "relaxation ", "rows ", "costs "):
        assert f"\n{heading}" in text


def test_strengths_and_needs_are_told(drpt):
    _, text = drpt("explain", "regularizer=layerwise_span", "model=tiny", "regularizer.strength=auto")
    text = " ".join(text.split())
    assert "λ → ∞: towards a vanishing update" in text
    assert "auto: the strength with the smallest estimated error, among 0, 0.001" in text
    assert "<v_j, v_k> [m, m]" in text
    _, text = drpt("explain", "regularizer=mix", "model=tiny", "regularizer.strength=auto")
    assert "in closed form" in text
    _, text = drpt("explain", "regularizer=full", "model=tiny")
    assert "nothing: the update is the gradient of one weighted loss" in text
    _, text = drpt("explain", "regularizer=layerwise_subset", "model=tiny", "regularizer.relaxation=auto")
    assert "ρ = auto" in text


def test_all_sets_in_short(drpt):
    status, text = drpt("explain")
    assert status == 0
    for name in SETS:
        assert f"\n{name} " in text


def test_a_reward_is_explained_with_what_it_cannot_see(drpt):
    status, text = drpt("explain", "full", "task=rlhf", "model=tiny")
    assert status == 0, text
    text = " ".join(text.split())
    assert "term language 1 times: High for inoffensive answers" in text
    assert "judge sentiment training does not follow it: VADER's compound score" in text
    for line in (*limits_of("offensive"), *limits_of("sentiment")):
        assert " ".join(line.split()) in text
    assert "it recognises category threat least" in text


def test_mistakes_are_explained(drpt):
    status, text = drpt("explain", "regularizer=layerwise_hul")
    assert status == 2
    assert "Choices: " in text
    assert "layerwise_hull" in text
    status, text = drpt("explain", "regularizer=gem", "regularizer.strength=auto")
    assert status == 2
    assert "relaxation=auto" in text


def lines_of(text):
    """The plan's cells, by the words before the first of them."""
    return {line.split("  ")[0].rsplit(" ×", 1)[0]: " ".join(line.split()) for line in text.splitlines() if " ×" in line}


def test_plan_of_full_fine_tuning(drpt):
    _, text = drpt("explain", "layerwise_hull", "model=tiny", "finetune=full", "data.max_length=64", "data.target_rows=2")
    lines = lines_of(text)
    assert "q_proj 64×64 ×2 linear direct" in lines["q_proj 64×64"]
    assert "embed_tokens = lm_head 259×64 ×1 tied direct" in lines["embed_tokens = lm_head 259×64"]
    assert "input_layernorm 64 ×2 norm exact rows" in lines["input_layernorm 64"]
    text = " ".join(text.split())
    assert "plan of tiny, finetune=full, each layer a block: alignments and gramian" in text
    assert "n = 8 general and m = 2 target rows of T = 64 tokens each (data.max_length: the worst case)" in text
    assert "times a standard step over n rows" in text
    assert "MiB for tied parameters until their last use" in text
    for method in ("reduced", "pairwise", "direct"):
        assert f" {method} " in text


def test_plan_of_adapters(drpt):
    _, text = drpt("explain", "layerwise_subset", "model=tiny", "finetune.rank=4")
    lines = lines_of(text)
    assert "4×64 ×2 linear" in lines["q_proj.lora_A 4×64"]
    assert "64×4 ×2 linear" in lines["q_proj.lora_B 64×4"]
    assert "frozen layers ×15 linear" in lines["frozen layers"]
    assert "alignments alone" in text
    assert "an update over 4 rows" in " ".join(text.split())


def test_plan_shows_what_is_not_regularized(drpt):
    _, text = drpt("explain", "layerwise_hull", "model=tiny", "finetune=full", "regularizer.parameters=linear_weights")
    lines = lines_of(text)
    for kind in ("embed_tokens = lm_head 259×64", "input_layernorm 64", "norm 64"):
        assert "not regularized" in lines[kind]
    assert "not regularized" not in lines["q_proj 64×64"]

    _, text = drpt("explain", "mix", "model=tiny", "finetune=full", "regularizer.parameters=linear_weights")
    assert "all other parameters the general mean" in " ".join(text.split())
    assert " none " in lines_of(text)["q_proj 64×64"]


def test_plan_with_sketches(drpt):
    words = ("explain", "layerwise_hull", "model=tiny", "finetune=full", "regularizer.products=sketch")
    _, text = drpt(*words, "sketch.left_width=16", "sketch.right_width=128")
    assert "sketch 16×64" in lines_of(text)["q_proj 64×64"]
    assert "sketch 16×96" in lines_of(text)["down_proj 64×96"]
    assert "MiB of random matrices" in text
    assert "unbiased estimates from random matrices" in text
    assert "pairwise" not in text.split("plan of")[1]


def test_plan_says_when_a_second_pass_is_taken(drpt):
    words = ("explain", "global_hull", "model=tiny", "finetune=full", "data.max_length=64")
    _, text = drpt(*words)
    assert "within trainer.activation_budget_mib=4096: no second pass" in " ".join(text.split())
    _, text = drpt(*words, "trainer.activation_budget_mib=0.5")
    assert "more than trainer.activation_budget_mib=0.5: instead, a second pass forms the update" in " ".join(text.split())
    _, text = drpt(*words, "trainer.activation_budget_mib=0.5", "trainer.micro_batches=3")
    assert "the run would stop" in " ".join(text.split())


def test_rest_is_told_where_the_model_cannot_be_had(drpt):
    status, text = drpt("explain", "layerwise_hull", "model=hub", "model.name=./nowhere")
    assert status == 0
    assert "\ncosts " in text
    assert "no plan: model.name=./nowhere: no such folder" in text
    assert "plan of" not in text


@pytest.mark.slow
def test_plan_of_the_embedded_model(drpt):
    _, text = drpt("explain", "layerwise_hull", "finetune=full")
    assert "q_proj 576×576 ×30 linear" in lines_of(text)["q_proj 576×576"]
    assert "embed_tokens = lm_head 49152×576 ×1 tied" in lines_of(text)["embed_tokens = lm_head 49152×576"]
