"""Inner products of per-example gradients, and the update formed from them, in one backward pass."""
