"""A reward learned from preferences by `drpt train task=reward`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drpt.data.preferences import prompt_text
from drpt.models.reward_folder import read_reward_config
from drpt.rewards.reward import Answer, Verdict

if TYPE_CHECKING:
    from drpt.models.reward_model import RewardModel


class PreferenceReward:
    """Score of a trained reward model; 0 is the midpoint between its chosen and rejected training responses.

    The model reads the last turn of the prompt and the response. It is loaded for the first answers, and runs on the CPU.

    Args:
        path: Folder ``reward_model`` of a finished run of ``task=reward``.

    Raises:
        RewardFolderError: The folder has no reward model, or one in another format.
    """

    def __init__(self, *, path: str) -> None:
        self._folder = Path(path).expanduser()
        self._config = read_reward_config(self._folder)
        self._model: RewardModel | None = None

    def __call__(self, answers: Sequence[Answer]) -> list[Verdict]:
        """See `drpt.rewards.reward.RewardTerm`."""
        if not answers:
            return []
        model = self._load()
        prompts = [prompt_text(answer.example) for answer in answers]
        features = model.features(prompts, [answer.text for answer in answers], max_length=self._config.max_length)
        scores = (model.scores(features) - self._config.center).tolist()
        return [Verdict(value=score, outcome="preferred" if score > 0 else "dispreferred") for score in scores]

    def prepare(self) -> None:
        """Load the model, before there are answers."""
        self._load()

    def _load(self) -> "RewardModel":
        if self._model is None:
            from drpt.models.reward_model import load_reward_model

            self._model, self._config = load_reward_model(self._folder)
        return self._model
