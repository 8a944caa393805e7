"""One folder per study: question, command, figures."""
