"""Evaluation on held-out examples: loss, perplexity, accuracy, and the cost of training steps."""
