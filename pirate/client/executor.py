"""The face of ``concurrent.futures``: servers as an executor."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import Future
from typing import Any, Unpack

from pirate.client import arguments
from pirate.client.blocking import Client
from pirate.client.given import OptionArguments, Shown
from pirate.client.pickles import Pickle
from pirate.errors import ConfigurationError

#: Seconds that a job may take, its waiting included, unless it is told otherwise.
TIMEOUT = 3600.0
#: Stands in the place of a function where there is none.
_PAYLOAD = object()


class Executor(BaseExecutor):
    """
    A ``concurrent.futures.Executor`` whose jobs run in a server's workers.

    ::

        with Executor("tcp://127.0.0.1:6660") as executor:
            print(executor.submit(b"hello").result())

    A job is a payload, or with the codec ``pickle`` a call of a function.  Its future can be cancelled until it is
    done, which cancels the request.  Jobs that have not been done when the program ends are lost, unless ``shutdown``
    has waited for them, as leaving a ``with`` block does.

    The parameters are those of :class:`Client`, but for:

    :param timeout: how many seconds a job may take, in which its waiting counts; an hour unless it is told otherwise.
    :param codec: as for :class:`Client`; or ``pickle``, for a server whose app is ``pirate.pickled.app``.  Whoever can
        reach such a server can run anything there, and whoever answers in its place anything here, so that ``pickle``
        is refused for endpoints of other machines unless ``curve`` is given.
    :raise ConfigurationError: if one of these is not right.
    """

    __signature__ = Shown(timeout=TIMEOUT)

    def __init__(
        self,
        endpoint: str | int | Iterable[str | int] = arguments.DEFAULT_ENDPOINT,
        **given: Unpack[OptionArguments],
    ) -> None:
        given.setdefault("timeout", TIMEOUT)
        self._pickles = given.get("codec") == "pickle"
        endpoints = arguments.endpoints(endpoint)
        if self._pickles:
            given["codec"] = Pickle()
            for each in endpoints if given.get("curve") is None else ():
                if not arguments.isLocal(each):
                    raise ConfigurationError(
                        f"codec 'pickle' is not safe with {each}: give curve=, or an endpoint of this machine"
                    )
        self._client = Client(endpoints, **given)
        self._changed = threading.Condition()
        self._futures: set[Future[Any]] = set()
        self._open = 0
        self._over = False
        self._cancels = False

    def __repr__(self) -> str:
        return f"<Executor of {' or '.join(self._client.endpoints)}{', shut down' if self._over else ''}>"

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """
        Have a job done.

        :param fn: the payload, or with the codec ``pickle`` a function that the server can import.
        :param args: the payload's further frames, or the function's arguments.
        :param kwargs: the function's; there are none for a payload.
        :return: the future of the reply, or of what the function returns.  Its exception is a ``CallError``; or, with
            ``pickle``, what the function has raised.
        :raise RuntimeError: after a shutdown.
        """
        if self._pickles:
            if not callable(fn):
                raise TypeError(f"with the codec pickle the first argument is a function, not {type(fn).__name__}")
            return self._submit(fn, args, kwargs)
        if fn is _PAYLOAD:
            return self._submit(*args)
        if callable(fn):
            raise TypeError("a function needs the codec pickle; the default codec takes a payload")
        if kwargs:
            raise TypeError("a payload has no keyword arguments")
        return self._submit(fn, *args)

    def map(
        self, fn: Any, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1, **more: Any
    ) -> Iterator[Any]:
        """
        Have a job done for each payload, or each set of arguments, and give the results in order.

        :param fn: the payloads, an iterable; or with the codec ``pickle`` a function.
        :param iterables: the payloads' further frames, or the function's arguments, each an iterable.
        :param timeout: how many seconds all of it may take; ``None``: as long as it takes.
        :param chunksize: has no meaning here, as in a ``ThreadPoolExecutor``.
        :param more: what later Pythons have, such as ``buffersize``.
        :raise TimeoutError: if a result is not there in time.
        """
        jobs: list[Any] = [fn, *iterables] if self._pickles else [_PAYLOAD, fn, *iterables]
        return super().map(*jobs, timeout=timeout, chunksize=chunksize, **more)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """
        Take no more jobs, and let go of the connections when the last is done.

        :param wait: whether to wait for that.
        :param cancel_futures: whether to cancel all that are not done.
        """
        with self._changed:
            self._over = True
            futures = list(self._futures) if cancel_futures else []
            self._cancels = self._cancels or cancel_futures
        for each in futures:
            each.cancel()
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._open)
            done = not self._open
        if done:
            self._client.close()

    def _submit(self, *body: Any) -> Future[Any]:
        with self._changed:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._open += 1
        try:
            future = self._client.submit(*body)
        except BaseException:
            self._done(None)
            raise
        with self._changed:
            self._futures.add(future)
            cancels = self._cancels
        future.add_done_callback(self._done)
        if cancels:
            future.cancel()
        return future

    def _done(self, future: Future[Any] | None) -> None:
        with self._changed:
            if future is not None:
                self._futures.discard(future)
            self._open -= 1
            last = self._over and not self._open
            self._changed.notify_all()
        if last:
            self._client.close()
