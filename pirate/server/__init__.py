"""
One running server: the cores and the edges, joined.

It imports every room below it, and knows the transport only by its interfaces.  At import it loads neither ZeroMQ nor
the reactor, because twistd imports it before it becomes a daemon.
"""
