"""Measures how often execution is wrong: faults that pass, and correct code that fails."""
