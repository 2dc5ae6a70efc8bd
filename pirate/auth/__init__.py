"""
Access control: the keys, the address rules, and the decision about each connection.

The transport imports ``rules`` alone; ``service``, ``tap`` and the commands import the rest.  This room imports
``errors`` and ``settings``, and never loads the reactor.
"""
