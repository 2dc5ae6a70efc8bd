"""
How many workers live: the pool's core, without processes, reactor or clock.

The time is an argument, and decisions are returned as actions that the caller carries out.  The room ``server`` may
import it; it imports ``wire``, ``errors`` and ``settings``, and never loads ZeroMQ, Twisted or a clock.
"""
