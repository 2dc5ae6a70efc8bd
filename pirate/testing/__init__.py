"""
Helpers for three kinds of tests: of an app, of code that calls a server, and of code built around a server.

- :class:`~pirate.testing.harness.AppHarness` runs an app in the test's own process, without a socket.
- :func:`~pirate.testing.serverprocess.serving` runs a real server in a process of its own, and
  :class:`~pirate.testing.trial.ServerMixin` runs one on the reactor of a trial test.
- The fakes replace a server's sockets, processes and workers by objects in memory.  A whole
  :class:`~pirate.service.JobServer` runs on a :class:`~pirate.testing.testbed.TestBed`, on a clock that the test
  advances::

    bed = TestBed()
    server = JobServer(bed.reactor, transport=bed.makeTransport)
    server.startService()
    bed.reactor.run()
    bed.reactor.advance(0)
    assert bed.request(b"client", b"question") == [[b"", b"question"]]

Each is imported when it is used, so that a test of an app needs no Twisted.  Only tests import them directly.

May import: ``errors``, ``wire``, ``settings``, ``broker``, ``pool``, ``auth.rules``, ``transport.interfaces``,
``transport.turns``, ``server.interfaces``, ``server.logs``, ``server.environment``, ``server.running``, ``worker``,
``client``, ``service``, ``hooks``.  May be imported by: ``pytestplugin`` (only ``serverprocess``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pirate.testing.arguments import ServerArguments
    from pirate.testing.fakeprocess import FakeProcess, FakeProgram, ProcessReactor
    from pirate.testing.faketransport import MemoryRouter, MemorySender, MemoryTransport
    from pirate.testing.harness import AppHarness, RequestOptions, Streamed
    from pirate.testing.serverprocess import ServerProcess, serving
    from pirate.testing.testbed import FakeWorker, TestBed
    from pirate.testing.trial import ServerMixin

__all__ = [
    "AppHarness",
    "FakeProcess",
    "FakeProgram",
    "FakeWorker",
    "MemoryRouter",
    "MemorySender",
    "MemoryTransport",
    "ProcessReactor",
    "RequestOptions",
    "ServerArguments",
    "ServerMixin",
    "ServerProcess",
    "Streamed",
    "TestBed",
    "serving",
]

_HOMES = {
    "AppHarness": "harness",
    "FakeProcess": "fakeprocess",
    "FakeProgram": "fakeprocess",
    "FakeWorker": "testbed",
    "MemoryRouter": "faketransport",
    "MemorySender": "faketransport",
    "MemoryTransport": "faketransport",
    "ProcessReactor": "fakeprocess",
    "RequestOptions": "harness",
    "ServerArguments": "arguments",
    "ServerMixin": "trial",
    "ServerProcess": "serverprocess",
    "TestBed": "testbed",
    "Streamed": "harness",
    "serving": "serverprocess",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pirate.testing.{_HOMES[name]}"), name)
