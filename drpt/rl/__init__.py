"""Reinforcement learning on a policy's own responses: how they are drawn, what they are worth, and what is learned from them.

Read it in the order in which a phase runs (`drpt.rl.phase`): `sampler` draws and judges responses, `parity` compares engine and
trainer, `scoring` computes log-probabilities and values, `advantage_estimator` turns rewards into advantages, `policy_loss`
turns advantages into losses, and `algorithm` says which of them go together.
"""
