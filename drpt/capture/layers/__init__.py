"""How modules of each kind run during a step so that every example's gradient of their parameters stays apart."""
