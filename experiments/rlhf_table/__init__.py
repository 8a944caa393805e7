"""What the judges of the study cannot see."""
