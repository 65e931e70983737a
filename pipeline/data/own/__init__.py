"""Datasets of one's own: a file or a dataset of the hub, cleaned, split, and kept in the data folder."""
