"""Sets and gradient surgery on explicit gradients, one example after another, from their definitions."""

import itertools

import torch


def mean_of(chosen, general, weights):
    """ω-mean of the chosen rows."""
    total = sum(weights[i] for i in chosen)
    return sum(weights[i] / total * general[i] for i in chosen)


def greedy_euclidean(general, target, weights, k):
    chosen = []
    for _ in range(k):
        rest = [i for i in range(len(general)) if i not in chosen]
        chosen.append(min(rest, key=lambda i: float((mean_of([*chosen, i], general, weights) - target).norm())))
    return mean_of(chosen, general, weights)


def exact_subset(general, target, weights, k):
    candidates = itertools.combinations(range(len(general)), k)
    return mean_of(min(candidates, key=lambda s: float((mean_of(s, general, weights) - target).norm())), general, weights)


def greedy_greats(general, target, weights, k, step_size):
    scaled = [len(general) * w * g for w, g in zip(weights, general, strict=True)]
    chosen = []
    for _ in range(k):
        rest = [i for i in range(len(general)) if i not in chosen]

        def gain(i):
            repeated = sum(float(scaled[i] @ scaled[j]) for j in chosen)
            return step_size * float(scaled[i] @ target) - step_size**2 * repeated

        chosen.append(max(rest, key=gain))
    return mean_of(chosen, general, weights)


def top_span(general, target, weights, rank):
    """Through the singular vectors of the rows √ω_i g_i."""
    _, _, directions = torch.linalg.svd(torch.stack([w.sqrt() * g for w, g in zip(weights, general, strict=True)]))
    return sum((target @ direction) * direction for direction in directions[:rank])


def pcgrad(general, target, order):
    update = target
    for i in order:
        inner = update @ general[i]
        if inner < 0:
            update = update - inner / (general[i] @ general[i]) * general[i]
    return update


def l2rw(general, target, weights):
    shares = [max(float(w * (g @ target)), 0.0) for w, g in zip(weights, general, strict=True)]
    total = sum(shares)
    return sum(s / total * g for s, g in zip(shares, general, strict=True)) if total else torch.zeros_like(target)


def matching_pursuit(general, target, k, solve):
    """``solve(rows, target)`` is the non-negative least squares solution's point."""
    chosen, update = [], torch.zeros_like(target)
    for _ in range(k):
        rest = [i for i in range(len(general)) if i not in chosen]
        best = max(rest, key=lambda i: float(general[i] @ (target - update)))
        if float(general[best] @ (target - update)) <= 0:
            break
        chosen.append(best)
        update = solve(general[chosen], target)
    return update
