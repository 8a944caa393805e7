"""A rollout engine from outside the package is checked before a model is loaded, agrees with ours, and is trained with."""

import pytest
import torch

from drpt.rollouts.build import build_rollout
from drpt.rollouts.outside import engine_class
from tests.app.test_rlvr import TINY, curve, only_run
from tests.rollouts.helpers import PROMPTS, sampling
from tests.rollouts.test_build import spec

OWN = "tests.rollouts.plain_engine"


def test_it_draws_what_transformers_draws(tiny_folder):
    greedy, answers = sampling(temperature=0.0), []
    for engine in (f"{OWN}.PlainRollout", "transformers"):
        built = build_rollout(spec(engine=engine), model_folder=tiny_folder, device=torch.device("cpu"), max_model_len=512)
        answers.append(built.generate(PROMPTS, greedy))
        built.close()
    for own, ours in zip(*answers, strict=True):
        assert [one.token_ids for one in own] == [one.token_ids for one in ours]
        torch.testing.assert_close(own[0].logprobs, ours[0].logprobs, rtol=1e-5, atol=1e-5)  # float32 forward passes


@pytest.mark.parametrize(
    ("engine", "arguments", "message"),
    [
        ("my_engines.Mine", {}, r"rollout\.engine=my_engines\.Mine: cannot be imported .*PYTHONPATH"),
        (f"{OWN}.Mute", {}, r"Mute: not a class with the methods sync, generate, close of drpt\.rollouts\.protocol\.Rollout"),
        (f"{OWN}.Homeless", {}, r"Homeless must take the argument model_folder, which drpt gives it"),
        (f"{OWN}.Untyped", {"word": 2}, r"rollout\.arguments\.word is not known\. Did you mean 'words'\?"),
        (f"{OWN}.Untyped", {"dtype": "int8"}, r"rollout\.arguments\.dtype is given by drpt itself"),
    ],
)
def test_what_is_no_engine_is_explained(engine, arguments, message):
    with pytest.raises(ValueError, match=message):
        engine_class(spec(engine=engine, arguments=arguments))


def test_an_engine_says_what_it_computes_in(tiny_folder):
    untyped = spec(engine=f"{OWN}.Untyped", arguments={"words": 2})
    with pytest.raises(ValueError, match=r"its attribute dtype must be one of float32, bfloat16"):
        build_rollout(untyped, model_folder=tiny_folder, device=torch.device("cpu"), max_model_len=512)


def test_arguments_are_for_engines_of_the_user_s():
    with pytest.raises(ValueError, match=r"rollout\.engine=transformers takes none"):
        spec(engine="transformers", arguments={"words": 2})
    with pytest.raises(ValueError, match=r"rollout\.engine='vlm' is not known\. Did you mean 'vllm'\?"):
        spec(engine="vlm")


@pytest.mark.long
def test_a_run_draws_its_responses_with_it(drpt):
    short = ("trainer.max_steps=1", "evaluation.every_steps=1")
    status, text = drpt("train", *TINY, *short, f"rollout.engine={OWN}.PlainRollout", "sweep=own")
    assert status == 0, text
    assert max(curve(only_run("own"), "rollout/mismatch/mean").values()) < 1e-4
    status, text = drpt("train", *TINY, "rollout.engine=my_engines.Mine")
    assert status == 2
    assert "rollout.engine=my_engines.Mine: cannot be imported" in " ".join(text.split())
