"""A reward learned from preference pairs."""
