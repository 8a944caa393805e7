"""Experiments: one folder for each study, with its question, commands and results."""
