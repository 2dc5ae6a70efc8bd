"""
Who gets in: keys, addresses, and the decision about each connection.

Only ``rules`` is known to the transport.  The room imports ``errors`` and ``settings``, and never loads the reactor.
"""
