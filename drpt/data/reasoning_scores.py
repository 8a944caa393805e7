"""Runs reasoning-gym's scorers in a separate process with a time limit, since some never return (``1e3000000``).

Source: reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760). Run as a module, this file is that process; see
`drpt.timed_worker`.
"""

import base64
import json
import pickle
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from drpt.data.reasoning_rules import score_answer
from drpt.timed_worker import CRASHED, TIMED_OUT, TimedWorker, serve

UNPARSABLE = "unparsable"
TIMEOUT_SECONDS = 3.0  # time limit for each answer; most take less than a millisecond
_LOADING_SECONDS = 60.0  # time limit for loading a family's data, which is not counted for any answer


class ReasoningScores:
    """Scores answers with the families' scorers, under the rules of `drpt.data.reasoning_rules`. Not thread-safe.

    Args:
        timeout_seconds: Time limit for each answer, in seconds.
    """

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.worker = TimedWorker(__name__, timeout_seconds)
        self._loaded: set[tuple[int | None, str, str]] = set()  # process id, family, options

    def score(
        self, family: str, payload: Mapping[str, Any], text: str, options: Mapping[str, Any] | None = None
    ) -> float | str:
        """Score an answer.

        Args:
            family: Name of a task family.
            payload: Item of the family's data set.
            text: Text of the answer.
            options: Options of the family, which some scorers use (number of decimals); None = the family's defaults.

        Returns:
            Score in [0, 1], or a word: ``unparsable`` (the scorer failed or returned no number in this range), ``timed_out`` or
            ``crashed``.
        """
        # Items contain objects that JSON cannot represent; pickle is safe here, since the process is drpt's own.
        item = base64.b64encode(pickle.dumps(dict(payload))).decode()
        scorer = {"family": family, "options": json.dumps(dict(options or {}), sort_keys=True)}
        self.worker.start()
        place = (self.worker.process_id, family, scorer["options"])
        if place not in self._loaded:
            self.worker.ask(scorer, seconds=_LOADING_SECONDS)
            self._loaded.add(place)
        score = self.worker.ask(scorer | {"item": item, "text": text})
        return score if score in (TIMED_OUT, CRASHED, UNPARSABLE) else float(score)


@lru_cache(maxsize=1)
def shared_scores() -> ReasoningScores:
    """The scorers shared by sources and rewards, since importing reasoning-gym takes seconds."""
    return ReasoningScores()


@lru_cache(maxsize=256)
def _scorer(family: str, options: str) -> Callable[..., Any]:
    import reasoning_gym

    scorer: Callable[..., Any] = reasoning_gym.create_dataset(family, seed=0, size=1, **json.loads(options)).score_answer
    return scorer


def _handle(question: Mapping[str, Any]) -> float | str | None:
    try:
        scorer = _scorer(question["family"], question["options"])
        if "text" not in question:
            return None
        return score_answer(question["family"], scorer, pickle.loads(base64.b64decode(question["item"])), question["text"])
    except Exception:  # scorers raise errors of any type when they parse answers
        return UNPARSABLE


def _prepare() -> None:
    import warnings

    warnings.simplefilter("ignore")
    import reasoning_gym  # noqa: F401


if __name__ == "__main__":
    serve(_handle, _prepare)
