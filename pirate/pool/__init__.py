"""
The pool: it decides how many workers live, without processes, reactor or clock.

The time is an argument, and decisions are returned as :mod:`~pirate.pool.actions` that the caller carries out.

This room never loads ZeroMQ, Twisted or ``time``.

May import: ``settings.limits``.  May be imported by: ``hooks`` (only ``child``), ``server``, ``testing``.
"""
