"""The embedded dataset ``packages``: documented code of the deep-learning packages that are installed anyway.

With the same versions of the packages it is the same on every machine: files come from the lists inside the
wheels, whose Python sources do not differ between platforms and accelerators, and in sorted order.
"""

from pipeline.corpus.build import Corpus, cache_path, load_corpus

__all__ = ["Corpus", "cache_path", "load_corpus"]
