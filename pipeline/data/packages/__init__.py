"""The embedded dataset ``packages``: documented code of the installed deep-learning packages.

With the same package versions it is the same on all machines: the files are those that the wheels list, in
sorted order, and Python sources do not differ between platforms and accelerators.
"""
