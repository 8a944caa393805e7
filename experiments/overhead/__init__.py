"""The cost of a regularized step relative to a standard one."""
