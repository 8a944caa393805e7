"""The command line: configuration, sweeps, tracking and the `drpt` commands."""
