"""
Who gets which request: the broker's core, without sockets, reactor or clock.

The time is an argument, and messages leave through the interfaces that the constructor takes, so every rule is tested
with numbers.  The rooms ``server`` and ``testing`` may import it; it imports ``wire``, ``errors`` and ``settings``, and
never loads ZeroMQ, Twisted or a clock.
"""
