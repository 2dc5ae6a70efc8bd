"""
The program of a child, ``python -m pirate.worker``.

- It needs pyzmq and the standard library.  Only :mod:`~pirate.worker.twistedrunner` imports Twisted, and only an app
  that needs it loads that module; so a worker starts fast and stays small.  A worker's start loads no ``logging``,
  ``dataclasses``, ``inspect`` or ``asyncio``.
- :mod:`~pirate.worker.worker` connects, loads the app and chooses a runner for it: :mod:`~pirate.worker.serialrunner`
  for one request after the other, :mod:`~pirate.worker.threads` for several at once in threads,
  :mod:`~pirate.worker.asynciorunner` and :mod:`~pirate.worker.twistedrunner` for several at once on a loop.

May import: ``errors``, ``wire``.  May be imported by: ``app`` (only ``app``), ``server`` (only ``imports``,
``startup``), ``twistd`` (only ``imports``, ``startup``), ``testing``; inside functions only, ``pickled`` (only
``app``).
"""
