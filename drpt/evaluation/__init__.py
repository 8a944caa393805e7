"""Held-out loss and task metrics."""
