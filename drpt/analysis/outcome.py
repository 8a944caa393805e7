"""Bias and variance of a training outcome: expected held-out cross-entropy, split over replicates.

Replicates r = 1..R are trained alike but for the seed: fresh draws of the scarce target examples, the order of examples,
initial adapters and dropout. The general pool is the same for all; redrawing it is no part of the variance. With ``p_r`` the
predictive distribution of replicate r at an answer token and ``y`` the right token, Heskes (1998) takes as their centre the
normalised geometric mean ``p̄ = exp(mean_r log p_r) / Z``, ``Z = Σ_v exp(mean_r log p_r(v))``, and

    expected cross-entropy  mean_r −log p_r(y)
    bias                    −log p̄(y) = mean_r −log p_r(y) + log Z, with the entropy of the data in it
    variance                mean_r KL(p̄ ‖ p_r) = −log Z ≥ 0

of which the last two add up to the first, token by token. The replicates' own scatter hides in p̄: ``−log Z`` of R replicates
is biased low at order 1/R (to leading order by the factor 1 − 1/R, as a variance that is divided by R). The jackknife
``V_J = R V − (R−1) mean_r V_(−r)``, with ``V_(−r)`` that of all replicates but r, removes this order; the corrected bias is the
expected cross-entropy, unbiased as it is, minus V_J. By Hölder's inequality ``V_J ≥ V``. Of two replicates each one alone has
``V_(−r) = 0``, so V_J = 2 V: still right to leading order, but without a standard error over replicates.

All answer tokens of all held-out examples are pooled, as in `drpt.evaluation.held_out.measure_loss`. That one sums over the
vocabulary in float32, and comes out lower by some 1e-5 nats with 50 000 tokens; sums here are in float64.

Two standard errors belong to every figure. Over replicates: ``s/√R`` of the jackknife's pseudo-values
``R V − (R−1) V_(−r)``; it is the one to compare regularizers by, which are measured on the same examples. Over held-out
examples: of a ratio of sums, by linearisation; it says how far the figures hold for other examples. The two sources are
crossed, so the square root of the sum of their squares is a slightly conservative error for both.

Axes: replicate = R; token = answer tokens; example = held-out examples; V = vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

SLICE_WIDTH = 4096  # tokens of the vocabulary that are turned to float64 at once


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """The terms of every answer token, float64, in nats."""

    losses: Float[Tensor, "replicate token"]  # −log p_r(y)
    variance: Float[Tensor, " token"]  # −log Z
    left_out: Float[Tensor, "replicate token"]  # −log Z of all replicates but this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A figure in nats a token with its standard errors, NaN where there are too few replicates or examples for one."""

    raw: float  # of the R replicates as they are
    value: float  # without the bias of order 1/R; the same as ``raw`` where there is none
    stderr_replicates: float
    stderr_examples: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Expected cross-entropy of one training procedure and its two parts, which add up to it, raw and corrected."""

    expected: Part
    bias: Part
    variance: Part
    losses: tuple[float, ...]  # cross-entropy of each replicate
    num_examples: int
    num_tokens: int


def split_tokens(
    logits: Float[Tensor, "replicate token V"], answers: Int[Tensor, " token"], *, slice_width: int = SLICE_WIDTH
) -> TokenTerms:
    """Losses and variances of answer tokens from all replicates' logits.

    Log-probabilities are never formed: with ``A_r`` the log-sum-exp of replicate r's logits ``l_r``,
    ``log Z = logsumexp_v(mean_r l_r(v)) − mean_r A_r``, and likewise without a replicate. The vocabulary is gone through in
    slices, in float64 whatever the logits' dtype: besides the logits, memory holds a few times token × ``slice_width`` numbers.

    Source: Heskes (1998), "Bias/variance decompositions for likelihood-based estimators".

    Args:
        logits: Unnormalised log-probabilities, finite; others make the token's terms NaN.
        answers: The right tokens.
        slice_width: Tokens of the vocabulary at once; the result does not depend on it but for rounding.

    Returns:
        The terms; variances that rounding made negative are 0.

    Raises:
        ValueError: There are fewer than two replicates.
    """
    num = len(logits)
    if num < 2:
        raise ValueError(f"{num} replicate: bias and variance are over replicates, and take at least 2.")
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
    """Sums of token terms by example, in whatever chunks they come; a few numbers an example are all that is kept.

    Args:
        num_replicates: R.
        num_examples: Held-out examples.
    """

    def __init__(self, num_replicates: int, num_examples: int) -> None:
        self._losses = torch.zeros(num_replicates, num_examples, dtype=torch.float64)
        self._left_out = torch.zeros_like(self._losses)
        self._variance = torch.zeros(num_examples, dtype=torch.float64)
        self._counts = torch.zeros_like(self._variance)

    def add(self, terms: TokenTerms, examples: Int[Tensor, " token"]) -> None:
        """Count tokens in.

        Args:
            terms: Theirs.
            examples: The example that each belongs to, from 0.
        """
        self._losses.index_add_(1, examples, terms.losses.cpu())
        self._left_out.index_add_(1, examples, terms.left_out.cpu())
        self._variance.index_add_(0, examples, terms.variance.cpu())
        self._counts.index_add_(0, examples, torch.ones(len(examples), dtype=torch.float64))

    def result(self) -> Outcome:
        """The decomposition over all tokens so far, of which there must be at least one."""
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
        """Means over replicates and tokens, and their errors; both arguments are sums [replicate, example]."""
        num, tokens = len(pseudo), float(self._counts.sum())
        value = float(pseudo.mean(dim=0).sum()) / tokens
        by_replicate = pseudo.sum(dim=1) / tokens
        # Two pseudo-values of a variance are the same by construction, and say nothing about its error.
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
