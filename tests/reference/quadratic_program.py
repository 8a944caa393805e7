"""Every way in which bounds can hold, tried out: the exact solution of a small program, from its definition.

Imports nothing of the code under test.
"""

import itertools

import torch


def solve_by_enumeration(gradients, target, *, cap=None, sums_to_one=False):
    """The point ``Σ c_i g_i`` closest to the target, over 0 ≤ c ≤ cap (and Σ c = 1): coefficients and squared distance.

    For each choice of coordinates at 0, at the cap and between, the ones between solve a linear system; the feasible
    solution with the smallest distance is the answer, since the optimum is one of them.
    """
    n = len(gradients)
    states = ("low", "free") if cap is None else ("low", "free", "high")
    best, best_distance = None, float("inf")
    for state in itertools.product(states, repeat=n):
        free = [i for i in range(n) if state[i] == "free"]
        c = torch.tensor([float(cap[i]) if state[i] == "high" else 0.0 for i in range(n)], dtype=torch.float64)
        rest = target - c @ gradients
        if free:
            rows = gradients[free]
            if sums_to_one:
                # c_free = base + z, z summing to zero: an orthonormal basis of such z makes it unconstrained.
                k = len(free)
                base = torch.full((k,), (1 - float(c.sum())) / k, dtype=torch.float64)
                basis = torch.linalg.qr(torch.eye(k, dtype=torch.float64) - 1 / k).Q[:, : k - 1]
                z = torch.linalg.pinv((basis.T @ rows).T) @ (rest - base @ rows)
                c[free] = base + basis @ z
            else:
                c[free] = torch.linalg.pinv(rows.T) @ rest
        if c.min() < -1e-9 or (cap is not None and bool((c > cap + 1e-9).any())):
            continue
        if sums_to_one and abs(float(c.sum()) - 1) > 1e-9:
            continue
        distance = float((target - c @ gradients).square().sum())
        if distance < best_distance - 1e-13:
            best, best_distance = c, distance
    return best, best_distance
