"""Values that all rows of a batch share (parameters, learned positions), followed through a module's own code row by row."""
