"""Rewards of responses: verifiers, reward models, classifiers, rules on their form, and weighted sums of these."""
