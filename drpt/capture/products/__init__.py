"""Ways to compute inner products of per-example gradients, one a file, and what each costs; all but sketches are exact."""
