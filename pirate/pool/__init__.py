"""
The pool: it decides how many workers live, without processes, reactor or clock.

The time is an argument, and decisions are returned as :mod:`~pirate.pool.actions` that the caller carries out.  The
room ``server`` imports this room; ``hooks`` imports its values.  It imports ``wire``, ``errors`` and ``settings``, and
never loads ZeroMQ, Twisted or ``time``.
"""
