"""Mathematical answers: found in a text, read as values, and compared exactly."""
