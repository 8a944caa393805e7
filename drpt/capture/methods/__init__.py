"""Ways to inner products of per-example gradients, one a file; all but sketches are exact."""
