"""Builds the suites ``packages-exec`` and ``metrics-exec``: draws calls, and keeps the useful ones."""
