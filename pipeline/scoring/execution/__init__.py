"""Functional correctness by execution: code runs in a sandbox, and its outputs are compared here."""
