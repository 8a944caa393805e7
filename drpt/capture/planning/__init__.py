"""What the capture will do in a step and what that costs, counted from shapes before any step is taken."""
