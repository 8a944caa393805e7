"""What a regularized step costs beside a standard one."""
