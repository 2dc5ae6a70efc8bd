"""
The wire protocol: frames to values, and values to frames.  ``docs/reference/wire.rst`` describes it.

``frontend`` has the messages of clients, ``backend`` those of workers, ``workerconfig`` what a child is spawned with,
``words`` what they share, and ``foreign`` recognizes other protocols.  Each side has one parser, and the parsers are
total: any list of frames gives a value, ``None`` for a greeting, or a ``Malformed`` with the reason.  A frame is
``bytes``; a large one may be any other buffer with a length, and is passed on untouched.

This room never loads ZeroMQ, Twisted, ``dataclasses``, ``inspect`` or ``logging``: a worker's start would pay for
them.

May import: nothing.  May be imported by: ``settings`` (only ``words``), ``broker``, ``transport``, ``server``,
``worker``, ``client``, ``testing``.
"""
