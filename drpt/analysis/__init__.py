"""Tables, charts and reports, read from saved results."""
