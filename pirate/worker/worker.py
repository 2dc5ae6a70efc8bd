"""
A worker: a process that connects to the server, loads the app, and leaves when it is told to.

It reads its :class:`~pirate.wire.workerconfig.WorkerConfig`, one line, from its standard input, and keeps that pipe
open.  When the other end is closed, because the server is gone, the worker ends, whatever the app is doing.
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
from pirate.wire.words import DEQUEUE, EXITING, WAITING
from pirate.wire.workerconfig import WorkerConfig
from pirate.worker import serialrunner
from pirate.worker.app import App, isAsync
from pirate.worker.environment import WorkerEnvironment
from pirate.worker.imports import explain, load
from pirate.worker.startup import (
    applyConfig,
    closeInForks,
    exitWhenStdinCloses,
    fail,
    ignoreTerminal,
    killWhenParentDies,
    readConfig,
    showTraceback,
)

if TYPE_CHECKING:
    from pirate.worker.interfaces import AppEvents

    #: Serves with an app on a DEALER until the worker is told to leave.
    Run = Callable[[Any, zmq.Socket[bytes], AppEvents, WorkerEnvironment], None]

#: Milliseconds that the last messages have to reach the server after the socket is closed.
LINGER_MS = 5000


class Worker:
    """
    A worker: it announces itself, serves, and says when it leaves.

    :param config: what it was spawned with.
    :param socket: its connection to the server.
    :param environment: the environment of the process.
    """

    def __init__(self, config: WorkerConfig, socket: zmq.Socket[bytes], environment: WorkerEnvironment) -> None:
        self._config = config
        self._socket = socket
        self._environment = environment
        self._wantsContext = False
        self._packs = False

    def run(self) -> None:
        """Serve with the app, or run the dequeue callable; then leave, and close the socket."""
        try:
            if self._config.dequeue is None:
                self._serve()
            else:
                self._dequeue(self._config.dequeue)
            self._socket.send_multipart([b"", EXITING])
        finally:
            self._socket.close()

    def _serve(self) -> None:
        try:
            target = load(self._config.app)
            run = chooseRunner(self._config, target)
        except BaseException as error:
            self.appFailed(error)
        run(target, self._socket, self, self._environment)

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
        config = self._config
        self._packs = packs
        self._wantsContext = app.wantsContext
        app.limit(config.maxFrame, config.maxFrames, config.maxTotal)
        self._announce(WAITING, config.prefetch or max(config.concurrency, config.threads, 1))

    def appFailed(self, error: BaseException) -> NoReturn:
        """Tell the server why there is no app, and end the process."""
        if self._config.showTraceback:
            showTraceback()
        path = self._config.dequeue or self._config.app
        self._environment.fail(ExitCode.APP_NOT_LOADED, f"cannot load {path!r}: {explain(error)}")

    def creditChanged(self, credit: int) -> None:
        """Tell the broker how many requests the worker may hold from now on."""
        self._announce(WAITING, credit)

    def _announce(self, word: bytes, credit: int) -> None:
        concurrency = max(self._config.concurrency, self._config.threads, 1)
        info = Announcement(self._config.token, credit, self._wantsContext, concurrency=concurrency, pack=self._packs)
        self._socket.send_multipart([b"", word, announcementFrame(info)])


def chooseRunner(config: WorkerConfig, target: Any) -> Run:
    """
    Return what serves with an app, as its kind and the configuration require.  Only that module is imported.

    :param target: the app, a callable or a class.
    :raise ConfigurationError: if the app does not fit the configuration's ``prefetch``, ``concurrency`` or ``threads``.
    """
    awaited = config.loop != "auto" or isAsync(target)
    if awaited and (config.prefetch or 1) > 1:
        raise ConfigurationError(f"prefetch ({config.prefetch}) is for plain functions: use --concurrency for this app")
    if config.threads:
        if awaited:
            raise ConfigurationError(f"threads ({config.threads}) are for plain functions: use --concurrency instead")
        from pirate.worker import threads

        return partial(threads.run, threads=config.threads)
    if config.loop == "twisted":
        from pirate.worker import twistedrunner

        return partial(twistedrunner.run, softTimeout=config.softTimeout)
    if awaited:
        from pirate.worker import asynciorunner

        return partial(asynciorunner.run, softTimeout=config.softTimeout)
    if config.concurrency > 1:
        raise ConfigurationError(
            f"concurrency ({config.concurrency}) needs an async app, and this is a plain function: use --threads "
            "instead, or --loop if its result must be awaited"
        )
    return partial(serialrunner.run, softTimeout=config.softTimeout, prefetch=config.prefetch, packs=config.pack)


def connect(context: zmq.Context[zmq.Socket[bytes]], config: WorkerConfig) -> zmq.Socket[bytes]:
    """Return a socket that connects to the server as a configuration says."""
    socket = context.socket(zmq.DEALER)
    socket.linger = LINGER_MS
    socket.identity = config.identity.encode()
    socket.ipv6 = "[" in config.backend
    if config.keys:
        socket.curve_serverkey = config.keys["server"].encode()
        socket.curve_publickey = config.keys["public"].encode()
        socket.curve_secretkey = config.keys["secret"].encode()
    socket.connect(config.backend)
    return socket


def main() -> NoReturn:
    """Run a worker, whose configuration is on the standard input."""
    ignoreTerminal()
    # A fatal signal shows the stack first, as does the ABRT that the server sends when a job takes too long.
    faulthandler.enable()
    config = readConfig()
    lifeline = exitWhenStdinCloses()
    killWhenParentDies(config.parent)
    closeInForks(config.backend)
    applyConfig(config)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        try:
            Worker(config, connect(context, config), WorkerEnvironment()).run()
        finally:
            context.term()
    except zmq.ZMQError as error:
        fail(ExitCode.BOOT_FAILED, f"cannot use {config.backend}: {error}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(lifeline)
    sys.exit(ExitCode.CLEAN)
