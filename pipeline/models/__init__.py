"""Model families, the registry of their checkpoints, and where weights come from."""
