"""Bias and variance of a training outcome: expected held-out cross-entropy, split over replicates.

Replicates r = 1..R differ in the seed alone: in the draws of the scarce target examples, the order of examples, initial
adapters and dropout. They share the general pool, whose choice is not part of the variance. Let ``p_r`` be the predictive
distribution of replicate r at an answer token, and ``y`` the right token. The centre of Heskes (1998) is the normalised
geometric mean ``p̄ = exp(mean_r log p_r) / Z``, ``Z = Σ_v exp(mean_r log p_r(v))``, with

    expected cross-entropy  mean_r −log p_r(y)
    bias                    −log p̄(y) = mean_r −log p_r(y) + log Z, which contains the entropy of the data
    variance                mean_r KL(p̄ ‖ p_r) = −log Z ≥ 0

where the last two add up to the first, token by token. Since p̄ is estimated from the same replicates, ``−log Z`` is biased low
at order 1/R (to leading order by the factor 1 − 1/R, like a variance with divisor R). The jackknife
``V_J = R V − (R−1) mean_r V_(−r)``, where ``V_(−r)`` leaves out replicate r, removes this order. The corrected bias is the
expected cross-entropy, which is unbiased, minus V_J. By Hölder's inequality ``V_J ≥ V``. With two replicates
``V_(−r) = 0``, so V_J = 2 V: still right to leading order, but without a standard error over replicates.

All answer tokens of all held-out examples are pooled, as in `drpt.evaluation.held_out.measure_loss`. That function sums over
the vocabulary in float32, which gives values lower by about 1e-5 nats with 50 000 tokens; sums here are in float64.

Every figure has two standard errors. Over replicates: ``s/√R`` of the jackknife's pseudo-values ``R V − (R−1) V_(−r)``. It
serves to compare regularizers, which are measured on the same examples. Over held-out examples: that of a ratio of sums, by
linearisation. It says how well the figures hold for other examples. The two sources are crossed, so the root of the sum of
squares is a slightly conservative error for both.

Axes: replicate = R; token = answer tokens; example = held-out examples; V = vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

SLICE_WIDTH = 4096  # tokens of the vocabulary that are converted to float64 at once


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """The terms of every answer token, float64, in nats."""

    losses: Float[Tensor, "replicate token"]  # −log p_r(y)
    variance: Float[Tensor, " token"]  # −log Z
    left_out: Float[Tensor, "replicate token"]  # −log Z without this replicate


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A figure in nats per token with its standard errors, NaN if there are too few replicates or examples."""

    raw: float  # plain estimate from the R replicates
    value: float  # estimate without the bias of order 1/R; equal to ``raw`` if it has none
    stderr_replicates: float
    stderr_examples: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Expected cross-entropy of a training procedure and its two parts, which add up to it, both raw and corrected."""

    expected: Part
    bias: Part
    variance: Part
    losses: tuple[float, ...]  # cross-entropy of each replicate, in nats per token
    num_examples: int
    num_tokens: int


def split_tokens(
    logits: Float[Tensor, "replicate token V"], answers: Int[Tensor, " token"], *, slice_width: int = SLICE_WIDTH
) -> TokenTerms:
    """Losses and variances of answer tokens from all replicates' logits.

    Log-probabilities are never formed: with ``A_r`` the log-sum-exp of replicate r's logits ``l_r``,
    ``log Z = logsumexp_v(mean_r l_r(v)) − mean_r A_r``, and the same without a replicate. The vocabulary is processed in
    slices, in float64 for any dtype of the logits; besides the logits, memory holds a few times token ×
    ``slice_width`` numbers.

    Source: Heskes (1998), "Bias/variance decompositions for likelihood-based estimators".

    Args:
        logits: Unnormalised log-probabilities [replicate, token, V]; values that are not finite make the token's terms NaN.
        answers: Right tokens [token].
        slice_width: Tokens of the vocabulary in a slice; up to rounding, the result does not depend on it.

    Returns:
        The terms; variances that are negative by rounding are set to 0.

    Raises:
        ValueError: There are fewer than two replicates.
    """
    num = len(logits)
    if num < 2:
        raise ValueError(f"{num} replicate: bias and variance over replicates need at least 2.")
    alone = torch.full(logits.shape[:2], -math.inf, dtype=torch.float64, device=logits.device)
    without = alone.clone()
    together = alone[0].clone()
    for part in logits.split(slice_width, dim=2):
        total = part.sum(dim=0, dtype=torch.float64)
        together = torch.logaddexp(together, (total / num).logsumexp(dim=1))
        for r in range(num):
            own = part[r].double()
            alone[r] = torch.logaddexp(alone[r], own.logsumexp(dim=1))
            without[r] = torch.logaddexp(without[r], ((total - own) / (num - 1)).logsumexp(dim=1))
    of_answers = logits.gather(2, answers.expand(num, -1).unsqueeze(2)).squeeze(2).double()
    others = (alone.sum(dim=0) - alone) / (num - 1)
    return TokenTerms(
        losses=alone - of_answers,
        variance=(alone.mean(dim=0) - together).clamp(min=0),
        left_out=(others - without).clamp(min=0),
    )


class OutcomeSums:
    """Accumulates token terms by example, from chunks of any size; only a few numbers for each example are kept.

    Args:
        num_replicates: Number R of replicates.
        num_examples: Number of held-out examples.
    """

    def __init__(self, num_replicates: int, num_examples: int) -> None:
        self._losses = torch.zeros(num_replicates, num_examples, dtype=torch.float64)
        self._left_out = torch.zeros_like(self._losses)
        self._variance = torch.zeros(num_examples, dtype=torch.float64)
        self._counts = torch.zeros_like(self._variance)

    def add(self, terms: TokenTerms, examples: Int[Tensor, " token"]) -> None:
        """Add the terms of some tokens.

        Args:
            terms: Terms of the tokens.
            examples: Index of each token's example [token], from 0.
        """
        self._losses.index_add_(1, examples, terms.losses.cpu())
        self._left_out.index_add_(1, examples, terms.left_out.cpu())
        self._variance.index_add_(0, examples, terms.variance.cpu())
        self._counts.index_add_(0, examples, torch.ones(len(examples), dtype=torch.float64))

    def result(self) -> Outcome:
        """The decomposition over all tokens added so far; there must be at least one."""
        num = len(self._losses)
        pseudo = num * self._variance - (num - 1) * self._left_out  # [replicate, example]; their mean is V_J
        return Outcome(
            expected=self._part(self._losses, self._losses),
            bias=self._part(self._losses - self._variance, self._losses - pseudo, is_jackknifed=True),
            variance=self._part(self._variance.expand(num, -1), pseudo, is_jackknifed=True),
            losses=tuple((self._losses.sum(dim=1) / self._counts.sum()).tolist()),
            num_examples=int((self._counts > 0).sum()),
            num_tokens=int(self._counts.sum()),
        )

    def _part(self, raw: Tensor, pseudo: Tensor, *, is_jackknifed: bool = False) -> Part:
        """Means over replicates and tokens, with standard errors; both arguments are sums [replicate, example]."""
        num, tokens = len(pseudo), float(self._counts.sum())
        value = float(pseudo.mean(dim=0).sum()) / tokens
        by_replicate = pseudo.sum(dim=1) / tokens
        # With two replicates, the pseudo-values of a variance are equal by construction and tell nothing about its error.
        has_error = num > (2 if is_jackknifed else 1)
        return Part(
            raw=float(raw.mean(dim=0).sum()) / tokens,
            value=value,
            stderr_replicates=float(by_replicate.std()) / math.sqrt(num) if has_error else math.nan,
            stderr_examples=self._stderr_of_ratio(pseudo.mean(dim=0), value),
        )

    def _stderr_of_ratio(self, sums: Tensor, ratio: float) -> float:
        num = int((self._counts > 0).sum())
        if num < 2:
            return math.nan
        residuals = sums - ratio * self._counts
        return math.sqrt(num / (num - 1) * float(residuals.square().sum())) / float(self._counts.sum())
