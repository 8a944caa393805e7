"""Every set that solves something, with what `tests.reference.optimality` says of its updates."""

import numpy as np
import torch

from experiments.solvers.hard_inputs import products_of
from experiments.solvers.sets import SOLVING, rule_of
from tests.reference import optimality


def found_by(name, given, dtype):
    """Coefficients that a set chooses for gradients whose products are formed in ``dtype``."""
    return rule_of(name).coefficients(given.rows, products_of(given, dtype), range(len(given.general)))


def residuals(name, given, dtype, found):
    """One number a block: of the gradients themselves in float64, of the given products and their ridge in float32."""
    products = products_of(given, dtype)
    omega, general = given.weights.numpy(), found.general.numpy().astype(optimality.REAL)
    numbers = []
    for block in range(len(general)):
        if dtype is torch.float64:
            K, s, square = optimality.exact_products(given.general[block].numpy(), given.target[block].numpy())
        else:
            K, s = (values[block].double().numpy().astype(optimality.REAL) for values in (products.gramian, products.alignment))
            square = optimality.REAL(float(products.target_sq[block]))
            K = (K + K.T) / 2
        numbers.append(_residual(name, K, s, square, general[block], omega, found.target[block], dtype))
    return np.array(numbers)


def _residual(name, K, s, square, c, omega, target, dtype):
    num_rows = len(c) + (name == "mgda")
    strength = SOLVING[name]

    def ready(K):
        return K if dtype is torch.float64 else optimality.with_ridge(K, num_rows)

    if name == "hull":
        return optimality.hull(ready(K), s, c, np.minimum(omega / strength, 1))
    if name == "mgda":
        everyone = np.block([[K, s[:, None]], [s[None], np.full((1, 1), square)]])
        return optimality.hull(ready(everyone), 0 * np.append(s, 0), np.append(c, float(target)), np.ones(len(c) + 1))
    if name.startswith("ridged"):
        takes_part = omega > 0
        K, s, c, omega = K[np.ix_(takes_part, takes_part)], s[takes_part], c[takes_part], omega[takes_part]
        K = K + np.diag(strength * (omega @ np.diag(K)) / omega)
        return (optimality.cone if name == "ridged cone" else optimality.span)(ready(K), s, c)
    if name == "halfspace":
        return optimality.halfspace(ready(K), s, c, omega)
    if name == "cagrad":
        return optimality.worst_case(ready(K), s, square, c, strength)
    if name == "top_span":
        return optimality.main_directions(K, s, c, omega, rank=max(1, int((1 - strength) * len(c) + 0.5)))
    if name == "gradmatch":
        return optimality.support(ready(K), s, c)
    if name.startswith("dual_cone"):
        least = strength * omega
        return optimality.cone(ready(K), -s - K @ least, c - least)
    return (optimality.cone if name == "cone" else optimality.span)(ready(K), s, c)
