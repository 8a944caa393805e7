"""Plain PPO and filters on toxicity, and what the study's judges miss."""
