"""Feasible sets, solvers, relaxation: products in, coefficients out (torch only)."""
