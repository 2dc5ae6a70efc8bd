"""
The child's program, C{python -m pirate.worker}: pyzmq and the standard library, nothing else.

It reads one line of JSON from its standard input, its L{Job}; loads the app; says C{waiting}; answers requests in the
order in which they come; and leaves when it is asked to C{retire}, or with its parent: the pipe that its standard
input was is kept, and its end ends the worker, whatever the app is doing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from time import perf_counter
from types import MethodType
from typing import Any, NoReturn

import zmq

from pirate.credit import Credit
from pirate.errors import LAST_WORDS, ExitCode, PirateError
from pirate.imports import load
from pirate.wire.backend import Info, announcement
from pirate.wire.words import DEQUEUE, ERROR, EXITING, RETIRE, WAITING, Code

# A plain int, because the enumeration's member costs more than the call that it is for.
_SNDMORE = int(zmq.SNDMORE)

#: Milliseconds that the last reply has for its way out.
LINGER = 5000


class Context:
    """
    What an app may know of a request, if it has a keyword-only parameter C{context}.

    :ivar pid: the worker's process id.
    :ivar request: the broker's id of the request, in hexadecimal.
    :ivar service: the name that was asked for; empty for the unnamed service.
    :ivar attempt: 1, or more if workers have died of this request.
    :ivar client: the client's address, or C{None} where it is not known.
    """

    __slots__ = ("attempt", "client", "pid", "request", "service")

    def __init__(self, request: bytes, told: dict[str, Any]) -> None:
        self.pid = os.getpid()
        self.request = request.hex()
        self.service: str = told.get("service", "")
        self.attempt: int = told.get("attempt", 1)
        self.client: str | None = told.get("client")


class App:
    """
    The user's app, ready to be called.

    :param target: a callable, or a class, of which one instance is made.
    """

    def __init__(self, target: Any) -> None:
        self._call = target() if isinstance(target, type) else target
        if not callable(self._call):
            raise TypeError(f"{target!r} is not callable")
        self.wantsContext = _wantsContext(self._call)

    def __call__(self, body: list[bytes], context: Context | None) -> list[bytes]:
        """The reply's frames.  :param body: the request's."""
        result = self._call(*body) if context is None else self._call(*body, context=context)
        return toFrames(result)

    def close(self) -> None:
        """Tell an app that has a C{close} method that the worker is about to end."""
        close = getattr(self._call, "close", None)
        if callable(close):
            close()


def toFrames(result: Any) -> list[bytes]:
    """
    An app's result as the frames of a reply.

    :param result: bytes (or another buffer), str (sent as UTF-8), C{None} (one empty frame), or a list or tuple of
        these for several frames.
    :raise TypeError: if it is anything else.
    """
    if isinstance(result, bytes):
        return [result]
    if isinstance(result, (list, tuple)):
        return [_toFrame(each) for each in result] or [b""]
    return [_toFrame(result)]


def _toFrame(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return b""
    raise TypeError(f"an app must return bytes, str, None, or a list of these, not {type(value).__name__}")


def _wantsContext(call: Any) -> bool:
    """Whether a callable has a keyword-only parameter C{context}; without C{inspect}, which is slow to import."""
    function = _innermost(call)
    if not hasattr(type(function), "__code__"):
        function = _innermost(type(function).__call__)
    if not hasattr(type(function), "__code__"):
        return False
    code = function.__code__
    first = code.co_argcount
    return "context" in code.co_varnames[first : first + code.co_kwonlyargcount]


def _innermost(call: Any) -> Any:
    """What is called in the end, under decorators, partials and methods."""
    while True:
        # Not by getattr: there are objects that have every attribute that they are asked for.
        attributes = getattr(call, "__dict__", {})
        if "__wrapped__" in attributes:
            call = attributes["__wrapped__"]
        elif isinstance(call, partial):
            call = call.func
        elif isinstance(call, MethodType):
            call = call.__func__
        else:
            return call


class Leave(BaseException):
    """The worker is to leave, and holds nothing that it has begun."""


class Worker:
    """
    One worker: its socket, and the loop that answers requests.

    :param job: what the parent has sent: C{backend} (endpoint), C{identity}, C{token}, C{app} or C{dequeue} (import
        paths), C{prefetch} (the credit, or C{None} to measure it), C{path} and C{pythonpath} (where to find modules),
        C{title}, and C{traceback} (whether to show it if the app cannot be loaded).
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = LINGER
        self._socket.identity = job["identity"].encode()
        self._socket.ipv6 = "[" in job["backend"]
        self._socket.connect(job["backend"])
        plain: Any = super(zmq.Socket, self._socket)
        self._receive, self._send = plain.recv, plain.send
        self._credit = Credit() if job["prefetch"] is None else None
        self._wantsContext = False
        self._busy = True
        self._leaving = False

    def run(self) -> None:
        """Do what the job says, then leave."""
        try:
            if self._job.get("dequeue"):
                self._dequeue()
            else:
                self._serve()
            self._socket.send_multipart([b"", EXITING])
        finally:
            self._socket.close()
            self._context.term()

    def _dequeue(self) -> None:
        call = _load(self._job["dequeue"], lambda target: target, self._job["traceback"])
        self._announce(DEQUEUE, 1)
        call()

    def _serve(self) -> None:
        app = _load(self._job["app"], App, self._job["traceback"])
        self._wantsContext = app.wantsContext
        self._announce(WAITING, self._job["prefetch"] or 1)
        try:
            self._answer(app)
        finally:
            app.close()

    def _announce(self, word: bytes, credit: int) -> None:
        info = Info(os.getpid(), self._job["token"], credit, self._wantsContext)
        self._socket.send_multipart([b"", word, announcement(info)])

    def _answer(self, app: App) -> None:
        """Answer requests until there is a C{retire}, or a TERM."""
        signal.signal(signal.SIGTERM, self._terminated)
        receive = self._receive
        try:
            while not self._leaving:
                self._busy = False
                frame = receive(0, False)
                self._busy = True
                frames = [frame.bytes]
                while frame.more:
                    frame = receive(0, False)
                    frames.append(frame.bytes)
                if len(frames) > 3:
                    self._execute(app, frames)
                elif frames[1:] == [RETIRE]:
                    return
        except Leave:
            self._busy = True

    def _execute(self, app: App, frames: list[bytes]) -> None:
        """Run the app on one request, and send what it says."""
        request, told = frames[1], frames[2]
        began = perf_counter()
        try:
            body = app(frames[4:], Context(request, json.loads(told))) if told else app(frames[3:], None)
            answer = [b"", request, b"", *body]
        except Exception as error:
            _showTraceback()
            answer = [b"", request, ERROR, Code.APP_ERROR.encode(), describe(error).encode(errors="replace")]
        credit = self._credit
        if credit is not None and credit.note(perf_counter() - began):
            # Before the answer, which the broker takes for a request to fill the hand again.
            credit.announced = credit.earned
            self._announce(WAITING, credit.announced)
        self._reply(answer)

    def _reply(self, frames: list[bytes]) -> None:
        send = self._send
        for frame in frames[:-1]:
            send(frame, _SNDMORE)
        send(frames[-1])

    def _terminated(self, number: int, frame: object) -> None:
        """
        TERM: leave after the request in hand; a second one: leave at once.

        A request that has arrived but was not begun is the broker's to give to another.
        """
        if self._leaving:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(128 + number)
        self._leaving = True
        if not self._busy:
            raise Leave


def describe(error: BaseException) -> str:
    """An error in one line: its type and its text."""
    text = " ".join(str(error).split())
    if isinstance(error, PirateError):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _load(path: str, make: Any, showTraceback: bool) -> Any:
    """The thing that an import path names, made ready; if that fails, this process says why and ends."""
    try:
        return make(load(path))
    except BaseException as error:
        if showTraceback:
            _showTraceback()
        where = _place(error)
        _fail(ExitCode.APP_NOT_LOADED, f"cannot load {path!r}: {describe(error)}{where}")


def _place(error: BaseException) -> str:
    """The line of the user's code at which an error arose, if it was not ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_code.co_filename if trace is not None else ""
    ours = os.path.dirname(os.path.abspath(__file__))
    if trace is None or name.startswith((ours, "<")) or "importlib" in name:
        return ""
    return f" ({name}, line {trace.tb_lineno})"


def _showTraceback() -> None:
    import traceback

    traceback.print_exc()


def _fail(code: ExitCode, reason: str) -> NoReturn:
    """End this process, with one line for the parent."""
    sys.stdout.flush()
    print(f"{LAST_WORDS}{reason}", file=sys.stderr, flush=True)
    os._exit(code)


def _endWithParent() -> int:
    """
    Keep the pipe that is the standard input, and let its end kill this process, even one that is deep in C code.

    :return: the descriptor of the pipe, which must stay open.
    """
    import fcntl
    import select

    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if sys.platform != "linux":
        signal.signal(signal.SIGIO, lambda number, frame: os._exit(ExitCode.CLEAN))
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):
        os._exit(ExitCode.CLEAN)
    return lifeline


def _readJob() -> dict[str, Any]:
    """The job: the first line of the standard input, and not a byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            os._exit(ExitCode.CLEAN)
        line += chunk
    job: dict[str, Any] = json.loads(line)
    return job


def _settle(job: dict[str, Any]) -> None:
    """Make this process what its parent expects: paths, environment, signals, streams, title."""
    sys.path[:] = job["path"]
    # Before the environment is touched: setproctitle finds its room by walking back from the first variable.
    _setTitle(job["title"])
    if job["pythonpath"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = job["pythonpath"]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _setTitle(title: str) -> None:
    if title:
        try:
            import setproctitle
        except ImportError:
            return
        setproctitle.setproctitle(title)


def main() -> NoReturn:
    """Be a worker."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    job = _readJob()
    lifeline = _endWithParent()
    _settle(job)
    try:
        Worker(job).run()
    except zmq.ZMQError as error:
        _fail(ExitCode.BOOT_FAILED, f"cannot use {job['backend']}: {error}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(lifeline)
    sys.exit(ExitCode.CLEAN)


if __name__ == "__main__":
    main()
