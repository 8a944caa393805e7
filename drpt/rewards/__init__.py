"""What a response is worth: verifiers, format, and weighted sums of them."""
