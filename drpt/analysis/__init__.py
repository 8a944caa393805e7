"""Tables, charts and reports from saved results, and the mathematics of `drpt probe` and `drpt outcome`."""
