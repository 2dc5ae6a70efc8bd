"""
The frontend and the backend: two ZeroMQ ROUTER sockets in the reactor, and who may connect to them.

Only this room uses ZeroMQ on the server's side.  The server knows it by :mod:`pirate.transport.interfaces`, which loads
no ZeroMQ.  Importing any other module of the room loads txZMQ and so installs a reactor; ``service`` imports
:mod:`pirate.transport.sockets` when it binds, and nothing else does.
"""
