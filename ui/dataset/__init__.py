"""The Dataset tab: browse samples, and import a dataset of one's own."""
