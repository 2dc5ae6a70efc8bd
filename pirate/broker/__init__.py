"""
The broker's core: which worker gets which request, without sockets, reactor or clock.

:class:`~pirate.broker.broker.Broker` accepts requests and composes the other parts, of which
:class:`~pirate.broker.dispatcher.Dispatcher` gives requests to workers.  The time is an argument, and messages and
events leave through :mod:`pirate.broker.interfaces`, so every rule is tested with numbers.

This room never loads ZeroMQ, Twisted or a clock.

May import: ``wire``, ``settings.limits``.  May be imported by: ``hooks`` (only ``request``), ``transport`` (only
``interfaces``), ``server``, ``testing``.
"""
