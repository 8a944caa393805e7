"""What leaving out logits that nobody looks at saves."""
