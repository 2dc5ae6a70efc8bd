"""
The process of ``twistd pirate``: how it becomes a daemon, what its terminal shows, and which signals it handles.

Only ``tap`` imports this room; a :class:`~pirate.service.JobServer` runs without it in any other Twisted program.  The
room imports ``service``, ``server``, ``settings``, ``auth``, ``worker.imports`` and ``worker.startup``, and loads no
reactor at import, because twistd forks afterwards.
"""
