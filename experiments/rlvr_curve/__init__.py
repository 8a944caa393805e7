"""Does the reward rise under GRPO, and what does a regularizer change?"""
