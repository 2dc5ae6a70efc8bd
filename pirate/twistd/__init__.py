"""
The process of ``twistd pirate``: becoming a daemon, descriptors, signals.

The service runs without this room in any other Twisted program.
"""
