"""Objectives of reinforcement learning from their definitions: loops over rows, tokens and the vocabulary.

Imports nothing of the code under test. Numbers are torch scalars, so that autograd gives the gradients of the loops.
"""

import math

import torch


def token_distribution(logits, row, token, temperature):
    """Probabilities of each entry of the vocabulary at a token, predicted from the position before."""
    weights = [torch.exp(value / temperature) for value in logits[row, token - 1]]
    return [weight / sum(weights) for weight in weights]


def logprobs_and_entropies(logits, token_ids, mask, temperature):
    """Of every token that counts, as lists of rows of (token, logprob, entropy)."""
    found = []
    for row in range(len(token_ids)):
        found.append([])
        for token in range(1, token_ids.shape[1]):
            if mask[row, token]:
                p = token_distribution(logits, row, token, temperature)
                entropy = -sum(float(q.detach()) * math.log(float(q.detach())) for q in p)
                found[-1].append((token, torch.log(p[int(token_ids[row, token])]), entropy))
    return found


def group_advantages(rewards, kind):
    """Rewards as lists of groups."""
    result = []
    for group in rewards:
        n, mean = len(group), sum(group) / len(group)
        if len(set(group)) == 1:
            result.append([0.0] * n)
        elif kind == "std":
            std = math.sqrt(sum((r - mean) ** 2 for r in group) / (n - 1))
            result.append([(r - mean) / (std + 1e-6) for r in group])
        elif kind == "mean":
            result.append([r - mean for r in group])
        elif kind == "rloo":
            result.append([group[i] - sum(group[j] for j in range(n) if j != i) / (n - 1) for i in range(n)])
        else:
            raise AssertionError(kind)
    return result


def pool_normalised(rewards):
    mean = sum(rewards) / len(rewards)
    if len(set(rewards)) == 1:
        return [r - 0.5 for r in rewards]
    std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    return [(r - mean) / std for r in rewards]


def token_loss(logprob, old, advantage, *, low, high, beta=0.0, reference=None, through_ratio=False, engine=None, cap=None):
    """One token's loss; clipping written as cases."""
    ratio = torch.exp(logprob - old)
    if advantage > 0 and float(ratio.detach()) > 1 + high:
        gain = (1 + high) * advantage + 0.0 * logprob
    elif advantage < 0 and float(ratio.detach()) < 1 - low:
        gain = (1 - low) * advantage + 0.0 * logprob
    else:
        gain = ratio * advantage
    loss = -gain
    if beta:
        weight = ratio if through_ratio else float(ratio.detach())
        loss = loss + beta * weight * (torch.exp(reference - logprob) - (reference - logprob) - 1)
    if cap is not None:
        loss = loss * min(math.exp(old - engine), cap)
    return loss


def token_losses(logprobs, old, advantages, mask, *, reference=None, engine=None, **terms):
    """The losses of all counted tokens, as lists of rows."""
    rows = []
    for i in range(len(logprobs)):
        rows.append([])
        for t in range(1, logprobs.shape[1]):
            if mask[i, t]:
                given = {} if reference is None else {"reference": float(reference[i, t])}
                given |= {} if engine is None else {"engine": float(engine[i, t])}
                rows[-1].append(token_loss(logprobs[i, t], float(old[i, t]), float(advantages[i]), **given, **terms))
    return rows


def step_loss(rows, kind, max_tokens):
    """The loss of a step as its paper writes it, from the tokens' losses."""
    total = 0.0
    if kind == "sequence":
        for row in rows:
            if row:
                total = total + sum(row) / len(row) / len(rows)
        return total
    for row in rows:
        for loss in row:
            total = total + loss
    return total / (sum(len(row) for row in rows) if kind == "token" else len(rows) * max_tokens)


def target_objective(objective, logprobs, old, advantages, rewards, mask, *, normalisation, max_tokens, **terms):
    """A target objective over all target responses; the rewards as they were given."""
    num_rows = len(logprobs)
    if objective in {"train_loss", "train_loss_preclip"}:
        if objective == "train_loss_preclip":
            terms |= {"low": math.inf, "high": math.inf}
        return step_loss(token_losses(logprobs, old, advantages, mask, **terms), normalisation, max_tokens)
    total = 0.0
    for i, reward in enumerate(pool_normalised(rewards)):
        tokens = [logprobs[i, t] for t in range(1, logprobs.shape[1]) if mask[i, t]]
        for logprob in tokens:
            weight = reward if objective == "reward" else float(advantages[i]) / len(tokens)
            total = total - weight * logprob / num_rows
    return total
