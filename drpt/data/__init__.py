"""Sources to examples to batches of general and target rows."""
