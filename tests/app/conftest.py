"""Tiny runs of the real command line."""

import pytest

from drpt.app.cli import main

# A sweep of these takes seconds: a random model, six steps, generated text.
TINY = (
    "model=tiny",
    "logger=off",
    "trainer.max_steps=6",
    "trainer.checkpoint_every_steps=2",
    "evaluation.every_steps=3",
    "evaluation.num_generate=4",
    "evaluation.max_new_tokens=4",
    "data.num_general=48",
    "data.num_eval=12",
    "data.general_rows=4",
    "data.target_rows=2",
    "data.source.target=chain_sum",
    "+data.source.target_options={min_terms:2,max_terms:2,min_digits:1,max_digits:1}",
    "data.source.general=[gcd,lcm,simple_equations]",
)


@pytest.fixture
def drpt(tmp_path, monkeypatch, capfd):
    """Runs `drpt WORDS…` in an empty folder; returns its status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as exit_:
            main(list(words))
        captured = capfd.readouterr()
        return exit_.value.code or 0, captured.out + captured.err

    return run
