"""
The broker's core: which worker gets which request, without sockets, reactor or clock.

:class:`~pirate.broker.broker.Broker` accepts requests and composes the other parts, of which
:class:`~pirate.broker.dispatcher.Dispatcher` gives requests to workers.  The time is an argument, and messages and
events leave through :mod:`pirate.broker.interfaces`, so every rule is tested with numbers.

The rooms ``server`` and ``testing`` may import this one, and ``transport`` its interfaces.  It imports ``wire``,
``errors`` and ``settings``, and never loads ZeroMQ, Twisted or a clock.
"""
