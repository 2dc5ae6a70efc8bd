"""
The frontend and the backend: two ZeroMQ ROUTER sockets in the reactor, and who may connect to them.

Only this room uses ZeroMQ on the server's side.  The server knows it by :mod:`pirate.transport.interfaces`, which loads
no ZeroMQ.  Importing :mod:`pirate.transport.sockets` loads txZMQ and so installs a reactor; ``service`` does it when it
binds.

May import: ``errors``, ``wire``, ``settings.limits``, ``auth.rules``, ``broker.interfaces``.  May be imported by:
``service`` (only ``interfaces``), ``server`` (only ``interfaces``), ``testing`` (only ``interfaces``, ``turns``);
inside functions only, ``service`` (only ``sockets``).
"""
