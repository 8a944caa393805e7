"""Losses as functions of logits and batches."""
