"""
A preforking ZeroMQ job server on Twisted.

One parent process, the broker, takes requests from clients on a ROUTER socket and hands each to one of the worker
processes that it keeps alive behind a second ROUTER; the worker runs the user's app, and the reply goes back.
"""

__version__ = "0.1.0"
