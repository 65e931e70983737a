"""The Compare tab: checkpoints side by side on one task."""
