"""Whether scores computed in bfloat16 order the examples as those computed in float32 do."""
