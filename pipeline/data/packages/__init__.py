"""The embedded dataset ``packages``: documented code of the deep-learning packages that are installed anyway.

With the same versions of the packages it is the same on every machine: files come from the lists inside the
wheels, whose Python sources do not differ between platforms and accelerators, and in sorted order.
"""
