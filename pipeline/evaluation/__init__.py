"""The one path from a task to scored attempts, and the store of evaluation runs."""
