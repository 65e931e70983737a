"""What the app survives: ``make torture`` writes one table, ``docs/torture.md``."""
