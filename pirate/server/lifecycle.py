"""The life of a server: its state, the Deferreds that wait for the next one, and the hooks that it calls."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from pirate.errors import ReloadError, StartError, StopError
from pirate.hooks import Hooks, RequestFacts
from pirate.pool.child import ChildExit, ChildStatus
from pirate.server.interfaces import IServerReactor, StartEvents
from pirate.server.logs import DETAIL, VERBOSITY, RateLimitedLog, ServerLog
from pirate.worker.imports import explain

if TYPE_CHECKING:
    from pirate.service import JobServer


class ServerState(Enum):
    """The state of a server; ``SERVER_TRANSITIONS`` holds the states that may follow each."""

    STOPPED = "stopped"
    #: The sockets are bound, and there are no workers.
    BOUND = "bound"
    #: Fewer than ``min-servers`` workers have been ready.
    STARTING = "starting"
    RUNNING = "running"
    #: No more requests are accepted; those that have been are still served, then the workers leave.
    DRAINING = "draining"


#: From each state, the states that may follow.
SERVER_TRANSITIONS: dict[ServerState, frozenset[ServerState]] = {
    ServerState.STOPPED: frozenset({ServerState.BOUND}),
    ServerState.BOUND: frozenset({ServerState.STARTING, ServerState.DRAINING}),
    ServerState.STARTING: frozenset({ServerState.RUNNING, ServerState.DRAINING}),
    ServerState.RUNNING: frozenset({ServerState.DRAINING}),
    ServerState.DRAINING: frozenset({ServerState.STOPPED}),
}


class Lifecycle:
    """
    The state of a server and the consequences of each change.

    It implements :class:`~pirate.server.interfaces.SupervisorEvents`.

    :param server: the first argument of the hooks.
    :param hooks: the application's hooks.
    :param startEvents: is told if no worker could ever start.
    :ivar state: the state of the server.
    """

    def __init__(
        self,
        server: JobServer,
        reactor: IServerReactor,
        log: ServerLog,
        hooks: Hooks,
        startEvents: StartEvents | None,
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._log = log
        self._hooks = hooks
        self._startEvents = startEvents
        self._hookErrors = RateLimitedLog(reactor, log, "hooks that failed")
        self.state = ServerState.STOPPED
        self._startFailed = False
        self._whenReady: list[Deferred[None]] = []
        self._whenReloaded: list[Deferred[None]] = []
        self._whenStopped: list[Deferred[None]] = []

    # --- waiting for a change

    def whenReady(self) -> Deferred[None]:
        """See :meth:`pirate.service.JobServer.whenReady`."""
        return self._wait(self._whenReady, self.state is ServerState.RUNNING)

    def whenReloaded(self) -> Deferred[None]:
        """Return a Deferred that fires when the reload in progress has ended, or fails with its error."""
        return self._wait(self._whenReloaded)

    def whenStopped(self) -> Deferred[None]:
        """Return a Deferred that fires when the server is stopped."""
        return self._wait(self._whenStopped, self.state is ServerState.STOPPED)

    @staticmethod
    def _wait(deferreds: list[Deferred[None]], reached: bool = False) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        deferreds.append(deferred)
        if reached:
            _fire(deferreds, None)
        return deferred

    # --- changes of state

    def bound(self) -> None:
        """Note that the sockets are bound."""
        self._startFailed = False
        self._become(ServerState.BOUND)

    def starting(self) -> None:
        """Note that the first workers are about to be started."""
        self._become(ServerState.STARTING)

    def draining(self) -> None:
        """Note that the server accepts no more requests."""
        self._become(ServerState.DRAINING)
        self._logEnd("stopping")
        self._call(self._hooks.serverStopping, self._server)
        _fire(self._whenReady, Failure(StopError("the server was stopped before it was ready")))

    def stopped(self) -> None:
        """Note that the last child is gone and the sockets are closed."""
        self._become(ServerState.STOPPED)
        self._hookErrors.stop()
        self._logEnd("stopped")
        self._call(self._hooks.serverStopped, self._server)
        _fire(self._whenStopped, None)

    def _become(self, state: ServerState) -> None:
        if state not in SERVER_TRANSITIONS[self.state]:
            raise StopError(f"the server cannot go from {self.state.value} to {state.value}")
        self.state = state

    def _logEnd(self, word: str) -> None:
        # A server that could not start has said why; its users want to read no more than that.
        self._log.info(word, verbosity=DETAIL if self._startFailed else VERBOSITY[LogLevel.info])

    # --- what the supervisor reports

    def poolConsulted(self, ready: int, wanted: int) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        self._call(self._hooks.idle, self._server)
        if self.state is ServerState.STARTING and ready >= wanted:
            self._become(ServerState.RUNNING)
            self._log.info("ready, with {count} workers", count=ready)
            self._call(self._hooks.serverStarted, self._server)
        if self.state is ServerState.RUNNING:
            _fire(self._whenReady, None)

    def reloaded(self, error: str | None) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        if error is None:
            self._log.info("reloaded")
            _fire(self._whenReloaded, None)
        else:
            self._log.error("the reload failed, the old workers stay: {error}", error=error)
            _fire(self._whenReloaded, Failure(ReloadError(error)))

    def gaveUp(self, reason: str) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        # Where min-servers is 0 the server is running before the first worker that is needed fails.
        if self.state in (ServerState.STARTING, ServerState.RUNNING):
            self._startFailed = True
            _fire(self._whenReady, Failure(StartError(reason)))
            if self._startEvents is None or not self._startEvents.startFailed(reason):
                self._log.critical("the workers cannot start: {reason}", reason=reason)
            self._reactor.callLater(0, self._server.abort)

    def spawning(self, count: int) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        self._call(self._hooks.spawning, self._server, count)

    def childStarted(self, pid: int) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        self._call(self._hooks.childStarted, self._server, pid)

    def childExited(self, pid: int, how: ChildExit) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        self._call(self._hooks.childExited, self._server, pid, how)

    def statusChanged(self, pid: int, before: ChildStatus, after: ChildStatus) -> None:
        """See :class:`~pirate.server.interfaces.SupervisorEvents`."""
        self._call(self._hooks.statusChanged, self._server, pid, before, after)

    # --- hooks

    def callServerStarting(self) -> None:
        """Call the hook ``serverStarting``."""
        self._call(self._hooks.serverStarting, self._server)

    @property
    def watchesStatus(self) -> bool:
        """``True`` if the hooks override ``statusChanged``, so that each change of a worker is reported to them."""
        return type(self._hooks).statusChanged is not Hooks.statusChanged

    @property
    def requestRule(self) -> Callable[[RequestFacts], bool | str | None] | None:
        """The application's rule for requests; ``None`` if it has none."""
        return None if type(self._hooks).allowRequest is Hooks.allowRequest else self._allowRequest

    def _allowRequest(self, context: RequestFacts) -> bool | str | None:
        try:
            verdict: Any = self._hooks.allowRequest(context)
        except Exception as error:
            # One line, at a limited rate: the cause may be in what a client sends, with every request.
            reason = explain(error)
        else:
            if verdict is None or isinstance(verdict, (bool, str)):
                return verdict
            # A Deferred or a coroutine, for example: nothing waits for it.
            reason = f"it returned a {type(verdict).__name__}, not True, False or a text"
        self._hookErrors.count("allowRequest", f"a request was refused: {reason}")
        return False

    def _call(self, hook: Callable[..., None], *arguments: Any) -> None:
        try:
            hook(*arguments)
        except Exception:
            self._log.failure("the hook {name} failed", name=getattr(hook, "__name__", hook))


def _fire(deferreds: list[Deferred[None]], result: Failure | None) -> None:
    firing = deferreds[:]
    # A callback may wait for the next change.
    deferreds.clear()
    for deferred in firing:
        deferred.callback(result)
