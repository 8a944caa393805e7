"""One optimizer step: the ledger of what its backward passes have reached, and the passes that form its update."""
