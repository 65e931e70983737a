"""Command lines: ``verbs`` reads a verb's by its signature, ``commands`` writes that of a call."""
