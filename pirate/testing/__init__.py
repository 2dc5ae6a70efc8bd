"""
For tests: of your app, of what calls a server, and of what you have built around one.

- :class:`~pirate.testing.harness.AppHarness` runs an app in the test's own process, without a socket.
- :func:`~pirate.testing.serverprocess.serving` is a real server in a process of its own, and
  :class:`~pirate.testing.trial.ServerMixin` one on the reactor of trial's tests.
- The fakes are a server's sockets, processes and workers, in memory and on a clock.  A whole
  :class:`~pirate.service.JobServer` runs on a :class:`~pirate.testing.testbed.TestBed`, without a socket, a child or a
  second of waiting::

    stage = Stage()
    server = JobServer(stage.reactor, transport=stage.makeTransport)
    server.startService()
    stage.reactor.run()
    stage.reactor.advance(0)
    assert stage.ask(b"client", b"question") == [[b"", b"question"]]

Each is imported when it is asked for: whoever tests an app needs no Twisted.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pirate.testing.fakeprocess import FakeProcess, ProcessReactor
    from pirate.testing.faketransport import MemoryRouter, MemorySender, MemoryTransport
    from pirate.testing.harness import AppHarness
    from pirate.testing.rehearsal import Streamed
    from pirate.testing.serverprocess import Serving, serving
    from pirate.testing.testbed import FakeWorker, TestBed
    from pirate.testing.trial import ServerMixin

__all__ = [
    "AppHarness",
    "FakeProcess",
    "FakeWorker",
    "MemoryRouter",
    "MemorySender",
    "MemoryTransport",
    "ProcessReactor",
    "ServerMixin",
    "Serving",
    "Streamed",
    "TestBed",
    "serving",
]

_HOMES = {
    "AppHarness": "harness",
    "FakeProcess": "fakeprocess",
    "FakeWorker": "testbed",
    "MemoryRouter": "faketransport",
    "MemorySender": "faketransport",
    "MemoryTransport": "faketransport",
    "ProcessReactor": "fakeprocess",
    "ServerMixin": "trial",
    "Serving": "serverprocess",
    "TestBed": "testbed",
    "Streamed": "rehearsal",
    "serving": "serverprocess",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pirate.testing.{_HOMES[name]}"), name)
