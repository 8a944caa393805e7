"""Reinforcement learning of a policy on its own responses: with verifiable rewards, or from human feedback."""
