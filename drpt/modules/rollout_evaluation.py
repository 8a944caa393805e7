"""Responses of the engine to held-out target prompts: reward, greedy accuracy, pass@k."""

import math
from collections.abc import Sequence

from lightning.pytorch import LightningModule

from drpt.data.chat import EncodedExample
from drpt.data.prompts import PromptData
from drpt.evaluation.spec import EvaluationSpec
from drpt.modules.evaluation import Evaluation
from drpt.rewards.judges import metrics_by_role
from drpt.rl.sampler import JudgedResponse, Sampler, opinions_of


class RolloutEvaluation(Evaluation):
    """Measures the policy on prompts that training never asks, with standard errors over prompts.

    ``reward``, ``pass_at_1`` and ``response_length`` are means over ``pass_k`` responses drawn for each prompt as training
    draws them, ``pass_at_k`` the share of prompts with a correct one among these, ``accuracy`` and ``greedy_reward`` those of
    the most likely response. ``target/*`` is of held-out prompts, ``stopping/reward`` of target prompts kept out of training.

    For the opinions of other judges on the drawn responses see `drpt.rewards.judges`.

    Args:
        sampler: Sampler that draws and judges responses.
        prompts: Held-out prompts, and target prompts kept out of training.
        spec: The `evaluation` config group.
        num_steps: Optimizer steps of the whole run.
        resume_step: Optimizer steps taken before, of a run that goes on.
    """

    def __init__(
        self, sampler: Sampler, prompts: PromptData, spec: EvaluationSpec, *, num_steps: int, resume_step: int = 0
    ) -> None:
        super().__init__(spec, num_steps=num_steps, resume_step=resume_step)
        assert spec.pass_k is not None
        self._sampler = sampler
        self._prompts = prompts
        self._num_responses = spec.pass_k
        self._max_tokens = spec.max_new_tokens
        self._num_prompts = spec.num_generate

    @property
    def stopping_loss(self) -> float | None:
        """The mean reward, with the sign of a loss."""
        reward = self.latest.get("stopping/reward/mean")
        return None if reward is None else -reward

    def measure(self, module: LightningModule) -> dict[str, float]:
        """See `Evaluation.measure`; the engine takes over the policy's weights first."""
        seconds = self._sampler.sync(module.model)
        examples = self._prompts.evaluation[: self._num_prompts]
        drawn = self._sample(examples, "evaluation", is_greedy=False)
        greedy = self._sample(examples, "evaluation", is_greedy=True)
        figures = {
            "reward": [_mean([one.judged.value for one in group]) for group in drawn],
            "response_length": [_mean([float(len(one.response.token_ids)) for one in group]) for group in drawn],
            "greedy_reward": [group[0].judged.value for group in greedy],
        }
        if greedy[0][0].judged.is_correct is not None:
            figures |= {
                "accuracy": [float(bool(group[0].judged.is_correct)) for group in greedy],
                "pass_at_1": [_mean([float(bool(one.judged.is_correct)) for one in group]) for group in drawn],
                "pass_at_k": [float(any(one.judged.is_correct for one in group)) for group in drawn],
            }
        self.samples = [self._sampler.table_row(example, group[0]) for example, group in zip(examples, greedy, strict=True)]
        metrics = {f"target/{name}": value for key, values in figures.items() for name, value in _estimate(key, values)}
        metrics |= {f"target/{name}": value for name, value in metrics_by_role(opinions_of(drawn)).items()}
        if stopping := self._prompts.stopping:
            asked = self._sample(stopping, "stopping", is_greedy=False)
            rewards = [_mean([one.judged.value for one in group]) for group in asked]
            metrics |= {f"stopping/{name}": value for name, value in _estimate("reward", rewards)}
        return metrics | {"evaluation/sync_seconds/value": seconds}

    def _sample(self, examples: Sequence[EncodedExample], stream: str, *, is_greedy: bool) -> list[list[JudgedResponse]]:
        # The same draws at every evaluation: differences between two of them are the policy's.
        sampling = self._sampler.sampling(
            stream,
            num_responses=1 if is_greedy else self._num_responses,
            temperature=0.0 if is_greedy else None,
            max_tokens=self._max_tokens,
        )
        return self._sampler.sample(examples, sampling)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _estimate(name: str, values: Sequence[float]) -> list[tuple[str, float]]:
    """Mean over prompts and its standard error; the latter is NaN for one prompt."""
    mean, count = _mean(values), len(values)
    spread = sum((value - mean) ** 2 for value in values)
    stderr = math.sqrt(spread / (count - 1) / count) if count > 1 else math.nan
    return [(f"{name}/mean", mean), (f"{name}/stderr", stderr)]
