"""A small file of one's own as the target, generated data as the general pool."""
