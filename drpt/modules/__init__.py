"""The Lightning modules; they only wire."""
