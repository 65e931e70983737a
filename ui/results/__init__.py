"""The Results tab: what stored runs say, without any model loaded."""
