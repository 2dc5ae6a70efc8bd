"""The executor: a server's workers as a ``concurrent.futures.Executor``, and the futures of calls."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import Future, InvalidStateError
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic, Literal, TypeVar, Unpack, overload

from pirate.client.blocking import Client
from pirate.client.call import Call
from pirate.client.codecs import Codec, CodecName, Reply
from pirate.client.endpoints import Outage
from pirate.client.options import (
    ATTEMPTS,
    DEFAULT_ENDPOINT,
    ClientOptions,
    Curve,
    EndpointArgument,
    OptionArguments,
    canonicalEndpoints,
    isLocal,
)
from pirate.client.pickles import PickleCodec
from pirate.client.threaddriver import ThreadDriver
from pirate.errors import ConfigurationError

#: The default timeout of a job, in seconds; the time that it waits for a worker counts.
TIMEOUT = 3600.0
#: Stands for the function where a job is a payload.
_PAYLOAD = object()

Result = TypeVar("Result")


class CallFuture(Future[Reply]):
    """
    The future of a reply.

    :ivar request: the id of the request.
    """

    def __init__(
        self,
        driver: ThreadDriver,
        options: ClientOptions[Reply],
        values: tuple[Any, ...],
        timeout: float | None,
        service: str,
        trace: str,
    ) -> None:
        super().__init__()
        self._driver = driver
        self._options = options
        self._call = options.newCall(values, self._ended, timeout, service, trace)
        self.request = self._call.request

    def cancel(self) -> bool:
        """
        Cancel the request, even if it is running.

        :return: false if the future is already done.
        """
        if not super().cancel():
            return False
        if not self._call.finished:
            self._driver.post(self._driver.session.cancel, self._call)
        return True

    def begin(self) -> None:
        """Send the request."""
        self._driver.post(self._begin, self._call)

    def _begin(self, call: Call, now: float) -> None:
        self._driver.background += 1
        self._driver.session.collect(call, now)

    def _ended(self, call: Call) -> None:
        # The callbacks of a future may do anything, so they run between turns.
        self._driver.afterTurn(self._conclude, call)

    def _conclude(self, call: Call) -> None:
        self._driver.background -= 1
        try:
            try:
                value = self._options.conclude(call)
            except BaseException as error:
                self.set_exception(error)
            else:
                self.set_result(value)
        except InvalidStateError:
            # It has been cancelled since the call ended.
            self.set_running_or_notify_cancel()


class Executor(BaseExecutor, Generic[Reply]):
    """
    A ``concurrent.futures.Executor`` whose jobs run in a server's workers.

    ::

        with Executor("tcp://127.0.0.1:6660") as executor:
            print(executor.submit(b"hello").result())

    A job is a payload, or with the codec ``pickle`` a function call.  Its future can be cancelled until it is done,
    which cancels the request.  Jobs that are not done when the program ends are lost, unless ``shutdown`` has waited
    for them, as leaving a ``with`` block does.

    The parameters are those of :class:`Client`, except:

    :param timeout: the seconds that a job may take; the time that it waits for a worker counts.  The default is an
        hour.
    :param codec: as for :class:`Client`; or ``pickle``, for a server whose app is ``pirate.pickled.app``.  Anyone who
        can reach such a server can run code there, and anyone who can reply in its place can run code here, so
        ``pickle`` is rejected for endpoints on other machines unless ``curve`` is given.
    :raise ConfigurationError: if an argument is invalid.
    """

    @overload
    def __init__(
        self: Executor[bytes],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["bytes"] = ...,
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: Executor[list[bytes]],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["frames"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: Executor[Any],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["json", "msgpack", "pickle"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: Executor[Reply],
        endpoint: EndpointArgument = ...,
        *,
        codec: Codec[Reply],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    def __init__(
        self,
        endpoint: EndpointArgument = DEFAULT_ENDPOINT,
        *,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        identity: bytes | None = None,
        plain: bool = False,
        curve: Curve | None = None,
        codec: CodecName | Literal["pickle"] | Codec[Any] = "bytes",
        before: Callable[[Call], str | None] | None = None,
        after: Callable[[Call], object] | None = None,
        outage: Callable[[Outage], object] | None = None,
    ) -> None:
        endpoints = canonicalEndpoints(endpoint)
        self._pickles = codec == "pickle"
        if self._pickles:
            for each in endpoints if curve is None else ():
                if not isLocal(each):
                    raise ConfigurationError(
                        f"codec 'pickle' is not safe with {each}: use curve=, or an endpoint on this machine"
                    )
        chosen: Any = PickleCodec() if codec == "pickle" else codec
        self._client: Client[Reply] = Client(
            endpoints,
            codec=chosen,
            timeout=timeout,
            attempts=attempts,
            identity=identity,
            plain=plain,
            curve=curve,
            before=before,
            after=after,
            outage=outage,
        )
        self._changed = threading.Condition()
        self._futures: set[Future[Any]] = set()
        self._open = 0
        self._shutDown = False
        self._cancels = False

    def __repr__(self) -> str:
        return f"<Executor of {' or '.join(self._client.endpoints)}{', shut down' if self._shutDown else ''}>"

    @overload
    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]: ...

    @overload
    def submit(self, fn: Any, /, *args: Any) -> Future[Reply]: ...

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """
        Submit a job.

        :param fn: the payload, or with the codec ``pickle`` a function that the workers can import.
        :param args: further frames of the payload, or the function's arguments.
        :param kwargs: the function's keyword arguments; a payload has none.
        :return: the future of the reply, or of what the function returns.  Its exception is a ``CallError``, or with
            ``pickle`` what the function raised; its ``__cause__`` shows the traceback in the worker.
        :raise RuntimeError: after a shutdown.
        """
        if self._pickles:
            if not callable(fn):
                raise TypeError(f"with the codec pickle the first argument is a function, not {type(fn).__name__}")
            return self._submit(fn, args, kwargs)
        if fn is _PAYLOAD:
            return self._submit(*args)
        if callable(fn):
            raise TypeError("a function needs the codec pickle; the other codecs take a payload")
        if kwargs:
            raise TypeError("a payload has no keyword arguments")
        return self._submit(fn, *args)

    @overload
    def map(
        self,
        fn: Callable[..., Result],
        *iterables: Iterable[Any],
        timeout: float | None = ...,
        chunksize: int = ...,
        ordered: bool = ...,
        progress: Callable[[int, int | None], object] | None = ...,
    ) -> Iterator[Result]: ...

    @overload
    def map(
        self,
        fn: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = ...,
        chunksize: int = ...,
        ordered: bool = ...,
        progress: Callable[[int, int | None], object] | None = ...,
    ) -> Iterator[Reply]: ...

    def map(
        self,
        fn: Any,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        ordered: bool = True,
        progress: Callable[[int, int | None], object] | None = None,
        **more: Any,
    ) -> Iterator[Any]:
        """
        Submit a job for each payload or each set of arguments, all at once, and return an iterator of the results.

        :param fn: the payloads; or with the codec ``pickle`` a function.
        :param iterables: further frames of the payloads, or the function's arguments.
        :param timeout: the seconds that all jobs may take together; ``None`` for no limit.
        :param chunksize: ignored, as by ``ThreadPoolExecutor``.
        :param ordered: whether the results come in the order of the jobs; if not, they come as they arrive.
        :param progress: called with the number of jobs that have ended and the number of jobs, in the thread that takes
            the results.
        :param more: the arguments of later Python versions, such as ``buffersize``, if the two before are not used.
        :raise TimeoutError: if a result is not there in time.
        """
        jobs: list[Any] = [fn, *iterables] if self._pickles else [_PAYLOAD, fn, *iterables]
        if ordered and progress is None:
            return super().map(*jobs, timeout=timeout, chunksize=chunksize, **more)
        if more:
            raise TypeError(f"{', '.join(more)} cannot be combined with ordered=False or progress")
        function, *arguments = jobs
        end = None if timeout is None else monotonic() + timeout
        futures = [self.submit(function, *each) for each in zip(*arguments, strict=False)]
        return _results(futures, end, ordered, progress)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """
        Accept no more jobs, and close the connections when the last one is done.

        :param wait: whether to wait for that.
        :param cancel_futures: whether to cancel the jobs that are not done.
        """
        with self._changed:
            self._shutDown = True
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
            if self._shutDown:
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
            last = self._shutDown and not self._open
            self._changed.notify_all()
        if last:
            self._client.close()


def _results(
    futures: list[Future[Any]],
    end: float | None,
    ordered: bool,
    progress: Callable[[int, int | None], object] | None,
) -> Iterator[Any]:
    """
    Yield the results of futures, and cancel those that are left when an error or the caller ends this.

    :param end: the time at which to give up; ``None`` for never.
    """
    done: SimpleQueue[Future[Any]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(done.put)
    waiting = deque(futures)
    try:
        for count in range(1, len(futures) + 1):
            try:
                future = done.get(timeout=None if end is None else max(0.0, end - monotonic()))
            except Empty:
                raise TimeoutError from None
            if progress is not None:
                progress(count, len(futures))
            if not ordered:
                yield future.result()
            while ordered and waiting and waiting[0].done():
                yield waiting.popleft().result()
    finally:
        for future in futures:
            future.cancel()
