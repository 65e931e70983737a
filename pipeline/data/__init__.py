"""Datasets with one interface: samples, splits, subsets, and how much training and test samples overlap."""
