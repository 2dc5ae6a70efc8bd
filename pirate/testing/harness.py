"""An app in the test's own process: all that happens to a request, but for the sockets."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pirate.broker.request import NativeRequest, readRequest
from pirate.client.codecs import toFrames
from pirate.testing.rehearsal import Asked, OneByOne, OnLoop, OnReactor, Streamed, shown
from pirate.wire.frontend import header
from pirate.worker.app import isAsync
from pirate.worker.imports import load

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

_CLIENT = b"client"
#: Where the broker's ids begin.
_FIRST = 1 << 63


class AppHarness:
    """
    Calls an app as a server would: what it gets, and what it says, goes through the frames of the wire and all that a
    worker does with them.

    ::

        with AppHarness(app) as harness:
            assert harness.call(b"hello") == b"HELLO"

    A class is instantiated and set up at once, and closed by :meth:`close`.  An app that is async runs on an asyncio
    loop of the harness's own, so :meth:`call` cannot be used inside another; ``await asyncio.to_thread(harness.call,
    b"x")`` can.

    The methods that call the app take, beside the frames of the request, what ``context`` is to say: ``service``,
    ``client`` (an address), ``attempt``, ``remaining`` (seconds), ``trace``; and ``cancelled``: then the request is
    cancelled as soon as the app has been called.

    :param app: a callable, a class, or an import path.
    :param loop: as ``--loop``: ``auto``, ``asyncio`` or ``twisted``.
    :param jobSoftTimeout: as ``--job-soft-timeout``: seconds; 0: none.
    :param reactor: for ``twisted``: a reactor, or a ``Clock``.
    :raise TypeError: if the app cannot be called.
    """

    def __init__(self, app: Any, *, loop: str = "auto", jobSoftTimeout: float = 0.0, reactor: Any = None) -> None:
        target = load(app) if isinstance(app, str) else app
        self._number = _FIRST
        self._asked: dict[bytes, Asked] = {}
        self._cause: BaseException | None = None
        self._closed = False
        if loop not in ("auto", "asyncio", "twisted"):
            raise ValueError(f"loop is {loop!r}, but must be auto, asyncio or twisted")
        if (loop == "twisted") != (reactor is not None):
            raise TypeError("loop='twisted' and a reactor (or a Clock) need each other")
        self._make: Callable[[], OneByOne | OnLoop | OnReactor]
        if loop == "twisted":
            self._make = lambda: OnReactor(target, jobSoftTimeout, self._said, self._failed, reactor)
        elif loop == "asyncio" or isAsync(target):
            self._make = lambda: OnLoop(target, jobSoftTimeout, self._said, self._failed)
        else:
            self._make = lambda: OneByOne(target, jobSoftTimeout, self._said, self._failed)
        self._stand = self._make()

    def __enter__(self) -> AppHarness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, *body: bytes, **about: Any) -> bytes | list[bytes]:
        """
        The reply, as a client gets it that takes no parts: ``bytes``, or a list of them for several frames.

        :raise TypeError: if a frame is not bytes, or there is none, as with a client.
        :raise CallError: a subclass, by what a server would say: ``AppError`` with ``type`` and ``text``,
            ``JobTimedOut``, ``Cancelled``; ``WorkerLost`` if the app has ended its process, which the next call finds
            replaced.  What the app raised is its ``__cause__``.
        """
        return shown(self._run(body, about).whole())

    def stream(self, *body: bytes, **about: Any) -> Streamed:
        """
        The reply, as a client gets it that takes parts.

        :raise CallError: as :meth:`call` does.
        """
        return self._run(body, about).streamed()

    def begin(self, *body: bytes, **about: Any) -> Deferred[bytes | list[bytes]]:
        """With ``loop="twisted"``: a Deferred that fires with what :meth:`call` returns, or fails as it does."""
        if not isinstance(self._stand, OnReactor):
            raise TypeError("begin is for loop='twisted': use call")
        asked, cancelled = self._ask(body, about)
        return self._stand.begin(asked, cancelled)

    def close(self) -> None:
        """Close the app.  Twice does no harm."""
        if not self._closed:
            self._closed = True
            self._stand.close()

    def _run(self, body: tuple[bytes, ...], about: dict[str, Any]) -> Asked:
        asked, cancelled = self._ask(body, about)
        try:
            self._stand.run(asked, cancelled)
        except SystemExit as ended:
            asked.lost(ended)
            # As the server does: that worker is no more, and there is another.
            self._stand.close()
            self._stand = self._make()
        finally:
            self._asked.pop(asked.request.id, None)
        return asked

    def _ask(self, body: tuple[bytes, ...], about: dict[str, Any]) -> tuple[Asked, bool]:
        if self._closed:
            raise RuntimeError("this harness has been closed")
        cancelled = bool(about.pop("cancelled", False))
        self._number += 1
        request = _request(self._number, body, **about)
        asked = self._asked[request.id] = Asked(request, self._stand.app.wantsContext)
        return asked, cancelled

    def _failed(self, error: BaseException) -> None:
        self._cause = error

    def _said(self, frames: list[bytes]) -> None:
        """The app's side has sent something."""
        asked = self._asked.get(frames[0] or frames[1])
        if asked is not None and asked.hear(frames, self._cause):
            del self._asked[asked.request.id]
            self._cause = None


def _request(
    number: int,
    body: tuple[bytes, ...],
    *,
    service: str = "",
    client: str | None = None,
    attempt: int = 1,
    remaining: float | None = None,
    trace: str = "",
) -> NativeRequest:
    """A request as the broker has it, of a client's frames."""
    options: dict[str, Any] = {"service": service, "trace": trace, "partial": True}
    if remaining is not None:
        options["timeout_ms"] = remaining * 1000
    request = readRequest([_CLIENT, header(os.urandom(16), options), b"", *toFrames(body)])
    if not isinstance(request, NativeRequest):
        raise ValueError(f"no client can send this: {request!r}")
    request.id = number.to_bytes(8, "big")
    request.peer = client
    request.attempts = attempt - 1
    if request.timeout is not None:
        request.deadline = monotonic() + request.timeout
    return request
