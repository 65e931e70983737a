"""Datasets behind one interface: the embedded one, ArXivDLInstruct; splits, subsets, contamination."""
