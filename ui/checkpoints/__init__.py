"""The Checkpoints tab."""
