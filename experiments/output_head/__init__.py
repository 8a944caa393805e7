"""How much time is saved by skipping logits that no loss uses."""
