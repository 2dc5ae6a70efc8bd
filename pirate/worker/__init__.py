"""
The program of a child, ``python -m pirate.worker``.

- It imports :mod:`pirate.wire`, :mod:`pirate.errors`, pyzmq and the standard library.  Only
  :mod:`~pirate.worker.twistedrunner` imports Twisted, and only an app that needs it loads that module; so a worker
  starts fast and stays small.  A worker's start loads no ``logging``, ``dataclasses``, ``inspect`` or ``asyncio``.
- :mod:`~pirate.worker.worker` connects, loads the app and chooses a runner for it: :mod:`~pirate.worker.serialrunner`
  for one request after the other, :mod:`~pirate.worker.threads` for several at once in threads,
  :mod:`~pirate.worker.asynciorunner` and :mod:`~pirate.worker.twistedrunner` for several at once on a loop.
- These enter: the server and ``twistd``, for :mod:`~pirate.worker.imports` and :mod:`~pirate.worker.startup`;
  :mod:`pirate.app` and :mod:`pirate.pickled`, for the :class:`~pirate.worker.app.Context`; and :mod:`pirate.testing`,
  which runs apps with the runners.
"""
