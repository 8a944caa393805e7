"""Heskes's decomposition straight from its definition: every distribution is held, the centre is formed, KLs are summed.

Imports nothing of the code under test.
"""

import math

import torch


def centre(probabilities):
    """The normalised geometric mean of distributions [replicate, V]."""
    product = torch.ones_like(probabilities[0])
    for p in probabilities:
        product = product * p ** (1 / len(probabilities))
    return product / product.sum()


def kl(p, q):
    return sum(float(a) * (math.log(a) - math.log(b)) for a, b in zip(p.tolist(), q.tolist(), strict=True))


def parts(probabilities, answers):
    """Expected cross-entropy, bias and variance as means over tokens; probabilities [replicate, token, V], float64."""
    expected = bias = variance = 0.0
    num, tokens = probabilities.shape[:2]
    for t in range(tokens):
        middle = centre(probabilities[:, t])
        expected += sum(-math.log(p[t, answers[t]]) for p in probabilities) / num
        bias += -math.log(middle[answers[t]])
        variance += sum(kl(middle, p[t]) for p in probabilities) / num
    return expected / tokens, bias / tokens, variance / tokens


def jackknife(probabilities, answers):
    """Corrected (bias, variance) and their standard errors over replicates, from R decompositions of R − 1 replicates."""
    num = len(probabilities)
    _, *whole = parts(probabilities, answers)
    pseudo = []
    for r in range(num):
        rest = torch.cat([probabilities[:r], probabilities[r + 1 :]])
        _, *left_out = parts(rest, answers)
        pseudo.append([num * all_ - (num - 1) * rest_ for all_, rest_ in zip(whole, left_out, strict=True)])
    values = [sum(column) / num for column in zip(*pseudo, strict=True)]
    errors = [
        math.sqrt(sum((x - value) ** 2 for x in column) / (num - 1) / num)
        for column, value in zip(zip(*pseudo, strict=True), values, strict=True)
    ]
    return values, errors


def stderr_over_examples(sums, counts):
    """Of Σ sums / Σ counts over examples, by linearisation."""
    num, ratio = len(sums), sum(sums) / sum(counts)
    residuals = [s - ratio * c for s, c in zip(sums, counts, strict=True)]
    return math.sqrt(num / (num - 1) * sum(r * r for r in residuals)) / sum(counts)
