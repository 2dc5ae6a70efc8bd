"""
The process of ``twistd pirate``: how it becomes a daemon, what its terminal shows, and which signals it handles.

A :class:`~pirate.service.JobServer` runs without this room in any other Twisted program.  At import it loads no
reactor, because twistd forks afterwards.

May import: ``errors``, ``settings``, ``server.descriptors``, ``hooks``, ``service``, ``worker.imports``,
``worker.startup``.  May be imported by: ``tap`` (only ``preflight``); inside functions only, ``tap``.
"""
