"""How far an update is from what its set promises, from the inner products, in 80-bit arithmetic and block by block.

Imports nothing of the code under test. ``K`` [n, n], ``s`` [n] and ``c`` [n] are one block's; all lengths are relative to the
block's own, so that a number of 1e-6 says a millionth of the gradients that take part.
"""

import numpy as np
from scipy.optimize import nnls

REAL = np.longdouble


def exact_products(general, target):
    """Gramian, alignments and square of a block's float64 gradients."""
    G, v = general.astype(REAL), target.astype(REAL)
    return np.einsum("id,jd->ij", G, G), G @ v, v @ v


def with_ridge(K, n):
    """What a gramian of n examples' float32 sums stands for: its least eigenvalues are rounding."""
    return K + np.diag(REAL(2.0**-20 * n**0.5) * np.diag(K))


def _lengths(K):
    length = np.sqrt(np.maximum(np.diag(K), 0))
    return length, np.where(length > 0, length, 1)


def _size(K, s):
    length, divisor = _lengths(K)
    return max(np.where(length > 0, abs(s) / divisor, 0), default=REAL(0))


def _relative(moved, size):
    return float(moved / size) if size > 0 else float(moved > 0)


def span(K, s, c):
    """What is left of v along the examples."""
    length, divisor = _lengths(K)
    return _relative(max(abs(np.where(length > 0, (s - K @ c) / divisor, 0))), _size(K, s))


def cone(K, s, c):
    """The longest step along one example that brings u closer to v, not leaving the cone; or how far it has left it."""
    worst = REAL(0)
    slope = K @ c - s
    for i, length in enumerate(_lengths(K)[0]):
        if length > 0:
            worst = max(
                worst, -c[i] * length, abs(slope[i]) / length if slope[i] < 0 else min(slope[i] / length, c[i] * length)
            )
    return _relative(worst, _size(K, np.maximum(s, 0)))


def support(K, s, c):
    """`cone` among the examples that take part."""
    chosen = c != 0
    return cone(K[np.ix_(chosen, chosen)], s[chosen], c[chosen]) if chosen.any() and _size(K, s) > 0 else 0.0


def hull(K, s, c, cap):
    """The longest exchange between two examples that brings u closer to v; and how far c is out of its bounds."""
    slope = K @ c - s
    apart_sq = np.maximum(np.diag(K)[:, None] + np.diag(K)[None] - 2 * K, 0)
    gain = slope[None, :] - slope[:, None]  # by weight that i takes from j
    room = np.minimum(np.maximum(cap - c, 0)[:, None], np.maximum(c, 0)[None, :])
    step = np.where((apart_sq > 0) & (gain > 0), np.minimum(gain / np.where(apart_sq > 0, apart_sq, 1), room), 0)
    length = _lengths(K)[0]
    size = max(_size(K, s), abs(c) @ length, REAL(1e-12) * max(length))
    outside = float(max(0, max(-c), max(c - cap), abs(c.sum() - 1)))
    return max(_relative((step * np.sqrt(apart_sq)).max(), size), outside)


def halfspace(K, s, c, omega):
    """How far ``<u, ḡ>`` is below zero, or above it where u is not v."""
    length, _ = _lengths(K)
    size = (omega @ length) * _size(K, s)
    inner = omega @ (s + K @ c)
    return _relative(abs(inner) if (c != 0).any() else max(-inner, 0), size)


def worst_case(K, s, square, c, strength):
    """CAGrad: out of the ball, or not all examples that count equally well off, or a better worst case exists."""
    if square == 0 or strength == 0:
        return float((c != 0).any())
    norm = np.sqrt(square)
    s, c, radius = s / norm, c / norm, REAL(strength)
    length, divisor = _lengths(K)
    apart = np.sqrt(max(c @ K @ c, 0))
    inner = s + K @ c
    x = c * length

    def uneven(worst):
        slack = np.where(length > 0, (inner - worst) / divisor, 0)
        moved = x - np.maximum(x - slack, 0)
        return max(abs(moved).max(), max(-x))

    candidates = [*inner, REAL(0)]
    if (length == 0).any():
        candidates = [min(worst, REAL(0)) for worst in candidates]
    worst = min(candidates, key=uneven)
    residual = max(uneven(worst), apart - radius)
    if apart < radius * (1 - 1e-6):
        residual = max(residual, _duality_gap(K, s, radius, worst))
    return float(residual)


def main_directions(K, s, c, omega, rank):
    """What is left of v along the main directions, as far as these are told apart, and what u has along others."""
    root = np.sqrt(omega)
    values, vectors = np.linalg.eigh((root[:, None] * K * root[None]).astype(float))
    size = max(_size(K, s), abs(c) @ _lengths(K)[0] * REAL(1e-6))
    last = len(values) - rank
    # Half of rounding's share of the largest: a direction near the cut may be on either side of it.
    is_cut_known = last == 0 or values[last] - values[last - 1] > 1e-4 * values[-1]
    worst = REAL(0)
    for k, (value, vector) in enumerate(zip(values, vectors.T, strict=True)):
        if value <= 1e-4 * values[-1] or not is_cut_known:
            continue
        direction = root * vector / np.sqrt(value)
        worst = max(worst, abs(direction @ (s - K @ c)) if k >= last else abs(direction @ (K @ c)))
    return _relative(worst, size)


def _duality_gap(K, s, radius, worst):
    """What the shortest mixture says that no worst case exceeds, less this one's."""
    length, divisor = _lengths(K)
    if (length == 0).any():
        return max(-worst, REAL(0))
    correlation = (K / divisor[:, None] / divisor[None]).astype(float)
    values, vectors = np.linalg.eigh(correlation)
    rows = vectors * np.sqrt(np.maximum(values, 0))
    shares, _ = nnls(np.vstack([rows.T, np.ones(len(K))]), np.append(np.zeros(len(K)), 1.0))
    mixture = (shares / shares.sum()) / length
    bound = mixture @ s + radius * np.sqrt(max(mixture @ K @ mixture, 0))
    return max(bound - worst * mixture.sum(), REAL(0))
