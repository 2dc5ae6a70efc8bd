"""
The child's program: ``python -m pirate.worker``.

It imports ``wire``, ``errors``, pyzmq and the standard library, never Twisted (but for ``twistedrunner``), so that it
starts fast and stays small.
"""
