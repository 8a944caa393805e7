"""Finds mathematical answers in texts, reads them as values, and compares them exactly."""
