"""The time and memory of reading and drawing from a file of a million conversations."""
