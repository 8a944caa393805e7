"""Causal language models and tokenizers: embedded, from the hub, random; adapters."""
