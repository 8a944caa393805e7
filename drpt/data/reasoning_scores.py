"""reasoning-gym's scorers, asked in a process of its own: some never return (``1e3000000`` as a probability).

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
TIMEOUT_SECONDS = 3.0  # for each answer; most take less than a millisecond
_LOADING_SECONDS = 60.0  # for a family's data, which some read from large files; no answer is to pay for it


class ReasoningScores:
    """Asks the families' scorers, under the rules of `drpt.data.reasoning_rules`. One thread at a time may ask.

    Args:
        timeout_seconds: Seconds for each answer.
    """

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.worker = TimedWorker(__name__, timeout_seconds)
        self._loaded: set[tuple[int | None, str, str]] = set()  # number of the process, family, options

    def score(
        self, family: str, payload: Mapping[str, Any], text: str, options: Mapping[str, Any] | None = None
    ) -> float | str:
        """Score an answer.

        Args:
            family: Name of a task family.
            payload: The item, as the family's data set made it.
            text: The answer.
            options: Options of the family, which some scorers look at (how many decimals count); its defaults if left out.

        Returns:
            The score in [0, 1]; or a word: ``unparsable`` (the scorer gave up, or gave what is no number in that range),
            ``timed_out`` or ``crashed``.
        """
        # Items hold more than JSON knows; the process is ours, and what it says comes back as JSON.
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
    """The one such process of this program: importing reasoning-gym takes seconds, and sources and rewards need it in turn."""
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
    except Exception:  # scorers parse what they are given, and raise whatever comes of that
        return UNPARSABLE


def _prepare() -> None:
    import warnings

    warnings.simplefilter("ignore")
    import reasoning_gym  # noqa: F401


if __name__ == "__main__":
    serve(_handle, _prepare)
