"""The Results tab: figures from stored runs. It needs no model."""
