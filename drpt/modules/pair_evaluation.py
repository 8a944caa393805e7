"""Held-out preferences: the share of pairs that the reward model orders rightly, and its loss."""

import math

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from drpt.data.encoded_pairs import EncodedPairs
from drpt.data.pair_rows import REJECTED
from drpt.data.preferences import prompt_text
from drpt.evaluation.spec import EvaluationSpec
from drpt.modules.evaluation import Evaluation
from drpt.modules.reward_modeling import pair_figures
from drpt.objectives.preference import bradley_terry_losses

_SHOWN_SAMPLES = 64


class PairEvaluation(Evaluation):
    """``target/*`` of the evaluation pairs, ``stopping/*`` of target pairs kept out of training; both with standard errors.

    Args:
        pairs: Pairs of every pool.
        spec: The `evaluation` config group.
        num_steps: Optimizer steps of the whole run.
        resume_step: Optimizer steps taken before, of a run that goes on.
    """

    def __init__(self, pairs: EncodedPairs, spec: EvaluationSpec, *, num_steps: int, resume_step: int = 0) -> None:
        super().__init__(spec, num_steps=num_steps, resume_step=resume_step)
        self._pairs = pairs

    def measure(self, module: LightningModule) -> dict[str, float]:
        """See `Evaluation.measure`; a sample's answer is the response with the higher score."""
        margins = self._margins(module, "evaluation")
        self.samples = [
            {
                "prompt": prompt_text(example),
                "expected": example.response,
                "answer": example.response if margin > 0 else str(example.payload[REJECTED]),
                "is_correct": margin > 0,
            }
            for example, margin in zip(self._pairs.examples["evaluation"], margins.tolist(), strict=True)
        ][:_SHOWN_SAMPLES]
        metrics = {f"target/{name}": value for name, value in _estimates(margins).items()}
        if self._pairs.examples["stopping"]:
            found = _estimates(self._margins(module, "stopping"))
            metrics |= {f"stopping/{name}": value for name, value in found.items()}
        return metrics

    def _margins(self, module: LightningModule, pool: str) -> Tensor:
        with torch.no_grad():
            return module.model.scores(self._pairs.differences[pool].to(module.device)).double().cpu()


def _estimates(margins: Tensor) -> dict[str, float]:
    """`pair_figures` with standard errors over pairs; NaN for one pair."""
    figures, num = pair_figures(margins), len(margins)
    share = figures["accuracy/mean"]
    spread = float(bradley_terry_losses(margins).std()) if num > 1 else math.nan
    return figures | {"loss/stderr": spread / math.sqrt(num), "accuracy/stderr": math.sqrt(share * (1 - share) / num)}
