"""Responses sampled from the policy: one protocol; vLLM here or behind a server, and transformers as the reference."""
