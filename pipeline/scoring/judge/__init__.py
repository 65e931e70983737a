"""A language model as the judge of correctness (CodeJudge, arXiv 2410.02184)."""
