"""How much faster vLLM draws responses than transformers."""
