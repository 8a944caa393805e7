"""Sampling responses from the policy: one protocol, with vLLM in this process or on a server, and transformers as reference."""
