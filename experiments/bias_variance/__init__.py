"""Bias and variance of update directions on a real model."""
