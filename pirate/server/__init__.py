"""
The running server: it joins the broker and the pool to the transport and to the workers' processes.

This room imports every room below it, and knows the transport by its interfaces only; ``service`` and ``twistd`` import
it.  At import it loads neither ZeroMQ nor the reactor, because twistd imports it before it becomes a daemon.
"""
