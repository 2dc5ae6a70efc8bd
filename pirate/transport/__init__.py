"""
The two ROUTER sockets on txZMQ, and ZAP.

Only this room touches ZeroMQ on the server's side.  The server knows it by :mod:`pirate.transport.sockets.interfaces`,
which loads no ZeroMQ; importing any other module of the room installs a reactor, so that is done when the sockets are
bound.
"""
