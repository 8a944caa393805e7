"""Losses and log-probabilities as functions of logits, token ids and masks."""
