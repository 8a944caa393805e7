"""What vLLM gains over transformers in drawing responses."""
