"""A file of a million conversations: what reading and drawing from it take."""
