"""Configuration, command line, sweeps and tracking."""
