"""Proximal policy optimization from its definitions: loops over rows and tokens, one number at a time.

Imports nothing of the code under test. Rows are lists of numbers, one a response token; torch scalars carry gradients.
"""

import math

import torch


def token_rewards(score, penalties):
    rewards = [-penalty for penalty in penalties]
    if rewards:
        rewards[-1] = rewards[-1] + score
    return rewards


def advantages(rewards, values, discount, decay):
    """The sum of the definition: every later surprise, discounted."""
    surprises = [
        rewards[t] + discount * (values[t + 1] if t + 1 < len(values) else 0.0) - values[t] for t in range(len(values))
    ]
    return [
        sum((discount * decay) ** (later - t) * surprises[later] for later in range(t, len(values))) for t in range(len(values))
    ]


def discounted_sum(rewards, discount):
    return [sum(discount ** (later - t) * rewards[later] for later in range(t, len(rewards))) for t in range(len(rewards))]


def whitened(rows, shifts):
    flat = [value for row in rows for value in row]
    if len(flat) < 2:
        return rows
    mean = sum(flat) / len(flat)
    variance = sum((value - mean) ** 2 for value in flat) / (len(flat) - 1)
    return [[(value - mean) / math.sqrt(variance + 1e-8) + (0.0 if shifts else mean) for value in row] for row in rows]


def value_error(value, old, wanted, clip):
    """Clipping written as cases."""
    error = (value - wanted) ** 2
    if clip is not None:
        if value.item() > old + clip:
            moved = torch.tensor(old + clip, dtype=torch.float64)
        elif value.item() < old - clip:
            moved = torch.tensor(old - clip, dtype=torch.float64)
        else:
            moved = value
        other = (moved - wanted) ** 2
        error = error if error.item() >= other.item() else other
    return error / 2


def row_loss(tokens, *, low, high, value_coefficient, value_clip, entropy_coefficient):
    """Mean over a row's tokens, each a mapping of its quantities."""
    total = 0.0
    for token in tokens:
        ratio = torch.exp(token["logprob"] - token["old_logprob"])
        clipped = min(max(ratio.item(), 1 - low), 1 + high)
        gain, bounded = ratio * token["advantage"], clipped * token["advantage"]
        loss = -gain if gain.item() <= bounded else -torch.tensor(bounded, dtype=torch.float64)
        loss = loss + value_coefficient * value_error(token["value"], token["old_value"], token["return"], value_clip)
        total = total + loss - entropy_coefficient * token["entropy"]
    return total / len(tokens) if tokens else torch.tensor(0.0)
