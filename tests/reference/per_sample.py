"""Per-sample gradients and regularized updates straight from their definitions: one backward pass a row, loops, no products.

Imports nothing of the code under test.
"""

import torch

Grads = dict[str, torch.Tensor]


def per_sample_grads(model, sample_losses):
    """Gradient of each row's loss, a dictionary a row; parameters the loss does not depend on are zero."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows = []
    for loss in sample_losses:
        grads = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        rows.append(
            {
                name: torch.zeros_like(p) if grad is None else grad
                for (name, p), grad in zip(parameters.items(), grads, strict=True)
            }
        )
    return rows


def blocks_of(names, partition):
    """Names grouped: one block, or one a module."""
    groups = {}
    for name in names:
        key = "all" if partition == "global" else name.rsplit(".", 1)[0]
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def inner(a, b, names):
    return sum(float((a[name] * b[name]).sum()) for name in names)


def combine(rows, coefficients, names):
    return {name: sum(c * row[name] for c, row in zip(coefficients, rows, strict=True)) for name in names}


def updates(rows, num_general, weights, *, feasible_set, strength=None, partition="global", relaxation=0.0):
    """The update of every parameter, from per-sample gradients."""
    general, target = rows[:num_general], rows[num_general:]
    names = list(rows[0])
    v = combine(target, [1 / len(target)] * len(target), names) if target else None
    mean = combine(general, weights, names) if general else None
    result = {}
    for block in blocks_of(names, partition):
        if feasible_set == "whole_space":
            update = {name: v[name] for name in block}
        elif feasible_set == "mean":
            update = {name: mean[name] for name in block}
        elif feasible_set == "ball":
            update = {name: strength * mean[name] + (1 - strength) * v[name] for name in block}
        elif feasible_set == "subset":
            scores = [weights[i] * inner(general[i], v, block) for i in range(num_general)]
            k = max(1, int(strength * num_general + 0.5))
            chosen = sorted(range(num_general), key=lambda i: -scores[i])[:k]
            total = sum(weights[i] for i in chosen)
            update = combine([general[i] for i in chosen], [weights[i] / total for i in chosen], block)
        else:
            raise AssertionError(feasible_set)
        for name in block:
            result[name] = update[name] if not relaxation else (1 - relaxation) * update[name] + relaxation * v[name]
    return result
