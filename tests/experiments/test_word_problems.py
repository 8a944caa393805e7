"""The study of a small target file: its problems, and what its README says comes from its record alone."""

import json
from pathlib import Path

from experiments.word_problems import study
from experiments.word_problems.problems import NUM_PROBLEMS, problems

FOLDER = Path(study.__file__).parent


def test_the_readme_says_what_the_record_holds():
    text = (FOLDER / "README.md").read_text()
    assert study.render(json.loads((FOLDER / "results.json").read_text())) in text


def test_effective_counts_are_said():
    found = {
        "sizes": {"general": 1000, "target": 16, "stopping": 0, "evaluation": 40},
        "left_out": {"target held out": 40},
        "settings": {"steps": 20},
        "seconds": 600,
        "table": ["| a |", "| :-- |"],
        "answers": [{"prompt": "1 |\n 2?", "expected": "3", "answer": "3", "is_correct": True}],
    }
    text = study.render(found)
    assert "1,000 general and 16 target examples were trained on, 40 measured with" in text
    assert "left out of the pools: target held out 40." in text
    assert r"| 1 \| 2? | 3 | 3 | yes |" in text


def test_no_question_is_asked_twice():
    found = list(problems())
    assert len({question for question, _ in found}) == NUM_PROBLEMS
    assert all(answer > 0 for _, answer in found)
