"""
A worker: a process that connects to the server, loads the app, and leaves when it is told to.

It reads its :class:`~pirate.wire.job.Job`, one line, from its standard input.  It keeps that pipe, whose end tells that
the server is gone, and ends then, whatever the app is doing.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import zmq

from pirate.errors import ConfigurationError, ExitCode
from pirate.wire.backend import Announcement, announcementFrame
from pirate.wire.job import Job
from pirate.wire.words import DEQUEUE, EXITING, WAITING
from pirate.worker import serialrunner
from pirate.worker.app import App, isAsync
from pirate.worker.imports import explain, load
from pirate.worker.process import Process
from pirate.worker.startup import (
    applyJob,
    closeInForks,
    exitWhenStdinCloses,
    fail,
    ignoreTerminal,
    killWhenParentDies,
    readJob,
    showTraceback,
)

if TYPE_CHECKING:
    from pirate.worker.interfaces import AppEvents

    #: Serves with an app on a DEALER until the worker is told to leave.
    Run = Callable[[Any, zmq.Socket[bytes], AppEvents, Process], None]

#: Milliseconds that the last messages have to reach the server after the socket is closed.
LINGER_MS = 5000


class Worker:
    """
    A worker: it announces itself, serves, and says when it leaves.

    :param job: the message that it was spawned with.
    :param socket: its connection to the server.
    :param process: the process that it runs in.
    """

    def __init__(self, job: Job, socket: zmq.Socket[bytes], process: Process) -> None:
        self._job = job
        self._socket = socket
        self._process = process
        self._wantsContext = False
        self._packs = False

    def run(self) -> None:
        """Serve with the app, or run the dequeue callable; then leave, and close the socket."""
        try:
            if self._job.dequeue is None:
                self._serve()
            else:
                self._dequeue(self._job.dequeue)
            self._socket.send_multipart([b"", EXITING])
        finally:
            self._socket.close()

    def _serve(self) -> None:
        try:
            target = load(self._job.app)
            run = chooseRunner(self._job, target)
        except BaseException as error:
            self.appFailed(error)
        run(target, self._socket, self, self._process)

    def _dequeue(self, path: str) -> None:
        try:
            call = load(path)
        except BaseException as error:
            self.appFailed(error)
        self._announce(DEQUEUE, 1)
        call()

    # --- AppEvents

    def appReady(self, app: App, packs: bool = False) -> None:
        """Tell the broker that the worker waits for requests."""
        job = self._job
        self._packs = packs
        self._wantsContext = app.wantsContext
        app.limit(job.maxFrame, job.maxFrames, job.maxTotal)
        self._announce(WAITING, job.prefetch or max(job.concurrency, job.threads, 1))

    def appFailed(self, error: BaseException) -> NoReturn:
        """Tell the server why there is no app, and end the process."""
        if self._job.showTraceback:
            showTraceback()
        path = self._job.dequeue or self._job.app
        self._process.fail(ExitCode.APP_NOT_LOADED, f"cannot load {path!r}: {explain(error)}")

    def creditChanged(self, credit: int) -> None:
        """Tell the broker how many requests the worker may hold from now on."""
        self._announce(WAITING, credit)

    def _announce(self, word: bytes, credit: int) -> None:
        concurrency = max(self._job.concurrency, self._job.threads, 1)
        info = Announcement(self._job.token, credit, self._wantsContext, concurrency=concurrency, pack=self._packs)
        self._socket.send_multipart([b"", word, announcementFrame(info)])


def chooseRunner(job: Job, target: Any) -> Run:
    """
    Return what serves with an app, as its kind and the job require; its module is imported only if it is needed.

    :param target: the app, a callable or a class.
    :raise ConfigurationError: if the app does not fit the job's ``prefetch``, ``concurrency`` or ``threads``.
    """
    awaited = job.loop != "auto" or isAsync(target)
    if awaited and (job.prefetch or 1) > 1:
        raise ConfigurationError(f"prefetch ({job.prefetch}) is for plain functions: use --concurrency for this app")
    if job.threads:
        if awaited:
            raise ConfigurationError(f"threads ({job.threads}) are for plain functions: use --concurrency instead")
        from pirate.worker import threads

        return partial(threads.run, threads=job.threads)
    if job.loop == "twisted":
        from pirate.worker import twistedrunner

        return partial(twistedrunner.run, softTimeout=job.softTimeout)
    if awaited:
        from pirate.worker import asynciorunner

        return partial(asynciorunner.run, softTimeout=job.softTimeout)
    if job.concurrency > 1:
        raise ConfigurationError(
            f"concurrency ({job.concurrency}) needs an async app, and this is a plain function: use --threads "
            "instead, or --loop if its result must be awaited"
        )
    return partial(serialrunner.run, softTimeout=job.softTimeout, prefetch=job.prefetch, packs=job.pack)


def connect(context: zmq.Context[zmq.Socket[bytes]], job: Job) -> zmq.Socket[bytes]:
    """Return a socket that connects to the server as a job says."""
    socket = context.socket(zmq.DEALER)
    socket.linger = LINGER_MS
    socket.identity = job.identity.encode()
    socket.ipv6 = "[" in job.backend
    if job.keys:
        socket.curve_serverkey = job.keys["server"].encode()
        socket.curve_publickey = job.keys["public"].encode()
        socket.curve_secretkey = job.keys["secret"].encode()
    socket.connect(job.backend)
    return socket


def main() -> NoReturn:
    """Run a worker, whose job is on the standard input."""
    ignoreTerminal()
    # A fatal signal shows the stack first, as does the ABRT that the server sends when a job takes too long.
    faulthandler.enable()
    job = readJob()
    lifeline = exitWhenStdinCloses()
    killWhenParentDies(job.parent)
    closeInForks(job.backend)
    applyJob(job)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        try:
            Worker(job, connect(context, job), Process()).run()
        finally:
            context.term()
    except zmq.ZMQError as error:
        fail(ExitCode.BOOT_FAILED, f"cannot use {job.backend}: {error}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(lifeline)
    sys.exit(ExitCode.CLEAN)
