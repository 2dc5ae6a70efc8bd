"""The supervisor of the server's workers: it carries out the pool's decisions, and follows each worker to its end."""

from __future__ import annotations

import errno
from collections.abc import Container

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from pirate.broker.broker import Broker
from pirate.pool.actions import AbandonRequests, Action, GiveUp, Reloaded, Retire, Signal, Spawn, Sweep
from pirate.pool.child import ChildExit, ChildKind, ChildState, ChildStatus
from pirate.pool.pool import Mode, Pool
from pirate.pool.scaling import Load
from pirate.server.childprocess import ChildProcess, Rejection, cancel
from pirate.server.connections import WorkerConnections
from pirate.server.environment import ServerEnvironment
from pirate.server.interfaces import ChildKeys, IServerReactor, SupervisorEvents
from pirate.server.logs import DETAIL, ServerLog
from pirate.server.output import OutputLog
from pirate.transport.interfaces import ITransport
from pirate.wire.backend import Status
from pirate.wire.words import DEQUEUE, EXITING, HEARTBEAT, WAITING
from pirate.wire.workerconfig import WorkerConfig

#: Attempts to spawn a process while the server has no file descriptors left, and seconds between two.
SPAWN_TRIES, SPAWN_INTERVAL = 40, 0.05
#: Seconds from the end of a worker's process until its requests are requeued: its last replies may still be unread.
LAST_REPLIES = 0.005
#: The same for a worker that left as it was asked to, and so has replied to all its requests.
LAST_REPLIES_RETIRED = 1.0
#: Seconds from the end of a worker's connection until its process, which may be ending by itself, is stopped.
CLOSED_GRACE = 1.0


class Supervisor:
    """
    The children of a server, and the status messages of all its workers.

    :param environment: tells what the operating system knows of the children.
    :param pool: decides how many workers live.
    :param broker: is told of workers that come and go.
    :param keys: makes the CURVE keys of children.
    :param transport: tells and closes the connections of workers.
    :param events: is told of the children's lives.
    :param externalWorkers: whether workers that are not children are admitted.
    :ivar identities: the routing ids of the children.
    :ivar spawns: how many children have been spawned.
    :ivar exits: how many have ended, by cause.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        environment: ServerEnvironment,
        log: ServerLog,
        pool: Pool,
        broker: Broker,
        keys: ChildKeys,
        transport: ITransport,
        events: SupervisorEvents,
        *,
        externalWorkers: bool = False,
    ) -> None:
        self._reactor = reactor
        self._environment = environment
        self._log = log
        self._pool = pool
        self._broker = broker
        self._dispatcher = broker.dispatcher
        self._keys = keys
        self._transport = transport
        self._events = events
        self._externalWorkers = externalWorkers
        self._output = OutputLog(reactor, log)
        self._connections = WorkerConnections(reactor, broker.dispatcher, transport, self)
        self._config: WorkerConfig | None = None
        self._children: dict[int, ChildProcess] = {}
        self._byIdentity: dict[bytes, ChildProcess] = {}
        self.identities: Container[bytes] = self._byIdentity.keys()
        self._openStreams: set[ChildProcess] = set()
        self._wakeCall: IDelayedCall | None = None
        self._consulting = False
        self._whenGone: list[Deferred[None]] = []
        self.spawns = 0
        self.exits: dict[str, int] = {}

    # --- the pool

    def setConfig(self, config: WorkerConfig) -> None:
        """Set the configuration of all children, once the backend is bound and before the first start."""
        self._config = config

    def setDequeue(self, dequeue: str | None) -> None:
        """
        Change the callable of the dequeue children that are yet to be spawned.

        :param dequeue: its import path.
        """
        assert self._config is not None, "the backend is bound"
        self._config.dequeue = dequeue

    def consultPool(self) -> None:
        """Carry out what the pool decides, and schedule the next decision."""
        if self._consulting:
            return
        self._consulting = True
        try:
            while actions := self._pool.decide(self._reactor.seconds(), self._load()):
                spawns = sum(isinstance(action, Spawn) for action in actions)
                if spawns:
                    self._events.spawning(spawns)
                for action in actions:
                    self._carryOut(action)
        finally:
            self._consulting = False
        self._events.poolConsulted(self.readyCount(), self._pool.limits.minServers)
        self._schedule()
        self._fireIfGone()

    def stop(self) -> None:
        """Make no more decisions."""
        cancel(self._wakeCall)
        self._wakeCall = None
        self._connections.stop()

    def whenGone(self) -> Deferred[None]:
        """
        Wait for the end of all children.

        :return: fires when none is left.
        """
        gone: Deferred[None] = Deferred()
        self._whenGone.append(gone)
        self._fireIfGone()
        return gone

    def isChild(self, pid: int) -> bool:
        """Return whether a process is a child of this server."""
        return any(child.pid == pid for child in self._children.values())

    def readyCount(self) -> int:
        """Return how many workers are ready."""
        return sum(process.child.state is ChildState.READY for process in self._children.values())

    def statuses(self) -> dict[int, ChildStatus]:
        """Return the status of each child by its process id."""
        return {process.pid: self._statusOf(process) for process in self._children.values()}

    def abandonRequests(self) -> None:
        """Give up the requests that have no reply yet."""
        inFlight, waiting = self._dispatcher.abandon("the server was stopped")
        if inFlight or waiting:
            self._log.warn(
                "stopped with {inFlight} requests in flight and {waiting} waiting, unanswered",
                inFlight=inFlight,
                waiting=waiting,
            )

    def _load(self) -> Load:
        """Return what the pool needs to know of the broker and the children."""
        spare = {number for number, process in self._children.items() if self._isSpare(process)}
        memory = {}
        if self._pool.limits.maxMemory:
            memory = {
                number: self._environment.residentMemory(process.pid) for number, process in self._children.items()
            }
        return Load(spare, self._broker.queues.waiting, self._broker.counters.received, memory)

    def _isSpare(self, process: ChildProcess) -> bool:
        """Return whether a retiring child has no request left, or another runs less than half of what it could."""
        if process.child.state is not ChildState.RETIRING:
            return self._dispatcher.isSpare(process.identity)
        # A child that has said that it is leaving is not known to the broker any more.
        return not self._dispatcher.knows(process.identity) or self._dispatcher.isIdle(process.identity)

    def _schedule(self) -> None:
        cancel(self._wakeCall)
        self._wakeCall = None
        if self._children or self._pool.mode is not Mode.CLOSING:
            now = self._reactor.seconds()
            self._wakeCall = self._reactor.callLater(max(self._pool.nextDecision(now) - now, 0), self.consultPool)

    def _consultSoon(self) -> None:
        """Consult the pool in the reactor's next turn: the broker is in the middle of something."""
        self._reactor.callLater(0, self.consultPool)

    # --- the pool's decisions

    def _carryOut(self, action: Action) -> None:
        match action:
            case Spawn():
                process = ChildProcess(action.child, self._reactor, self._environment, self._output, self)
                self._children[action.child.number] = process
                self.spawns += 1
                self._spawn(process, SPAWN_TRIES)
            case Retire():
                self._retire(self._children[action.child.number])
            case Signal():
                self._signal(action)
            case Sweep():
                self._environment.reapProcesses()
            case AbandonRequests():
                self.abandonRequests()
            case Reloaded():
                self._events.reloaded(action.error)
            case GiveUp():
                self._events.gaveUp(action.reason)

    def _spawn(self, process: ChildProcess, tries: int) -> None:
        """
        Start a child's process.

        :param tries: how often to try while the server has no file descriptors left: connections beyond the limit are
            accepted before they are closed, so that some may be free soon.
        """
        process.spawnCall = None
        assert self._config is not None, "the backend is bound"
        try:
            process.spawn(self._config, self._keys)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and tries > 1:
                process.spawnCall = self._reactor.callLater(SPAWN_INTERVAL, self._spawn, process, tries - 1)
                return
            self.childExited(process, ChildExit("not spawned", message=f"cannot start a process: {error.strerror}"))
            return
        self._byIdentity[process.identity] = process
        self._openStreams.add(process)
        self._log.info("worker {pid} was started", pid=process.pid, verbosity=DETAIL)
        self._events.childStarted(process.pid)

    def _retire(self, process: ChildProcess) -> None:
        self._reportLeaving(process)
        self._log.info("worker {pid} is retired", pid=process.pid, verbosity=DETAIL)
        self._dispatcher.retire(process.identity)

    def _signal(self, action: Signal) -> None:
        process = self._children.get(action.child.number)
        if process is not None and process.spawnCall is not None:
            process.spawnCall.cancel()
            process.spawnCall = None
            self.childExited(process, ChildExit("not spawned", message=action.why))
        elif process is not None:
            self._log.info(
                "worker {pid} gets SIG{name}: {why}",
                pid=process.pid,
                name=action.name,
                why=action.why,
                # Until a worker has been ready, the server itself says, once, why there is none.
                verbosity=1 if self._pool.everReady and action.name != "TERM" else DETAIL,
            )
            process.signal(action.name)

    # --- what workers say of themselves

    def statusReceived(self, status: Status) -> Rejection | None:
        """
        Act on a status message of a worker, whether it is a child or external.

        :return: why the message is dropped; ``None`` if it is not.
        """
        identity, word = status.worker, status.word
        process = self._byIdentity.get(identity)
        announced = False
        if process is None:
            if not self._externalWorkers:
                return Rejection.UNKNOWN_WORKER
        elif process.child.state is ChildState.STARTING:
            rejection = process.authenticate(status, self._transport.workerSender().address())
            if rejection is not None:
                return rejection
            self._childReady(process)
            announced = True
        if word == WAITING:
            self._workerWaiting(status, process, announced)
        elif word == DEQUEUE and announced:
            self._connections.announced(identity, own=True)
        elif word == EXITING:
            self._dispatcher.workerGone(identity, "it left", died=False)
            if process is not None:
                self._childLeaving(process)
        elif word == HEARTBEAT:
            self._dispatcher.workerAlive(identity)
        if process is not None and (announced or word == EXITING):
            self.consultPool()
        return None

    def _workerWaiting(self, status: Status, process: ChildProcess | None, announced: bool) -> None:
        """Report a worker that is ready to the broker, or the new credit of one that has announced itself before."""
        if process is None:
            self._connections.announced(status.worker, own=False)
            self._dispatcher.workerReady(status.worker, status.info)
        elif announced:
            self._connections.announced(status.worker, own=True)
            self._dispatcher.workerReady(status.worker, status.info, process.child.maxRequests)
        elif status.info is not None and self._dispatcher.knows(status.worker):
            self._dispatcher.workerReady(status.worker, status.info)

    def _childReady(self, process: ChildProcess) -> None:
        process.becameReady()
        self._pool.childReady(process.child, self._reactor.seconds())
        isWorker = process.child.kind is ChildKind.WORKER
        self._reportStatus(process, ChildStatus.WAITING if isWorker else ChildStatus.DEQUEUE)
        self._log.info("worker {pid} is ready", pid=process.pid, verbosity=DETAIL)

    def _childLeaving(self, process: ChildProcess) -> None:
        """Let another take the place of a child that has sent its last message."""
        process.left = True
        self._pool.childLeaving(process.child, self._reactor.seconds())
        self._reportLeaving(process)
        if process.settleCall is not None:
            self._settle(process, "leaving")

    # --- what the broker reports of workers

    def busyChanged(self, identity: bytes, busy: bool) -> None:
        """Report that a child holds its first request, or none any more."""
        process = self._byIdentity.get(identity)
        if process is not None and process.child.state is ChildState.READY:
            self._reportStatus(process, ChildStatus.PROCESSING if busy else ChildStatus.WAITING)

    def requestsHalfUsed(self, identity: bytes) -> None:
        """Start a successor of a child that has been sent half of its remaining requests, if it needs one by now."""
        process = self._byIdentity.get(identity)
        if process is not None and self._pool.requestsHalfUsed(process.child, self._reactor.seconds()):
            self._consultSoon()

    def requestsUsedUp(self, identity: bytes) -> None:
        """Let another take the place of a child that has been sent as many requests as it may be given."""
        process = self._byIdentity.get(identity)
        if process is not None:
            self._pool.childLeaving(process.child, self._reactor.seconds())
            self._reportLeaving(process)
            self._consultSoon()

    def workerOverdue(self, identity: bytes, why: str) -> None:
        """
        Stop a child by a signal that makes it write its stack.

        :param why: the reason, for the log.
        """
        process = self._byIdentity.get(identity)
        if process is not None:
            self._pool.abortChild(process.child, self._reactor.seconds(), why)
            self._reportLeaving(process)
            self._consultSoon()

    def workerSilent(self, identity: bytes) -> None:
        """Stop a silent child if a signal has stopped it: it would be silent for ever."""
        process = self._byIdentity.get(identity)
        if process is not None and self._environment.isStopped(process.pid):
            self._dispatcher.workerGone(identity, "it was stopped by a signal")
            self.workerOverdue(identity, "it has been stopped by a signal")

    def workerUnreachable(self, identity: bytes) -> bool:
        """
        Give a child that accepts no messages a moment to end by itself.

        It may be leaving, and its last replies may be unread, so its requests are not requeued yet.

        :return: ``False`` if the worker is not a child.
        """
        process = self._byIdentity.get(identity)
        if process is None:
            return False
        self._pool.childUnreachable(process.child, self._reactor.seconds())
        self._consultSoon()
        return True

    # --- connections

    def connectionClosed(self, connection: int) -> None:
        """Note that a connection of the backend is closed."""
        self._connections.closed(connection)

    def backendConnectionClosed(self, identity: bytes) -> None:
        """
        Requeue the requests of a worker whose connection is closed; stop a child that does not end by itself.

        A process that exits closes its connection a little before its end can be seen.
        """
        why = "its connection was closed"
        process = self._byIdentity.get(identity)
        if process is None:
            # An external worker may come back; one that holds no request loses nothing.
            if not self._dispatcher.isIdle(identity):
                self._loseWorker(identity, why)
        elif (
            # A child that has ended, or has said that it is leaving, is dealt with when it is settled.
            process.child.number in self._children and not process.left and process.child.kind is ChildKind.WORKER
        ):
            if process.stopCall is None:
                process.closedStatus = self._statusOf(process)
                process.stopCall = self._reactor.callLater(CLOSED_GRACE, self._stopDisconnected, process, why)
            self._loseWorker(identity, why)

    def _loseWorker(self, identity: bytes, why: str) -> None:
        """Remove a worker outside of a turn, and have one taken: the deadline of what it held may have passed."""
        self._dispatcher.workerGone(identity, why)
        self._transport.wake()

    def _stopDisconnected(self, process: ChildProcess, why: str) -> None:
        self._log.warn("worker {pid}: {why}", pid=process.pid, why=why, verbosity=1)
        self.workerOverdue(process.identity, why)

    # --- the end of children

    def childExited(self, process: ChildProcess, how: ChildExit) -> None:
        """Report the end of a child, and requeue its requests when its last replies have had time to arrive."""
        cancel(process.stopCall)
        child, identity = process.child, process.identity
        retiring = child.state is ChildState.RETIRING
        self._logExit(process, how, retiring)
        self._pool.childExited(child, how, self._reactor.seconds(), self._dispatcher.hasWorked(identity))
        self._children.pop(child.number, None)
        self._keys.revoke(process.keys)
        self.exits[how.cause] = self.exits.get(how.cause, 0) + 1
        self._events.childExited(process.pid, how)
        # A child that exits without a failure says first that it is leaving; until that is read, replies may be unread.
        nothingUnread = process.left or not how.clean
        if nothingUnread and (not self._dispatcher.knows(identity) or self._dispatcher.isIdle(identity)):
            self._settle(process, how.cause)
        else:
            self._dispatcher.stopAssigning(identity)
            delay = LAST_REPLIES_RETIRED if retiring and how.clean else LAST_REPLIES
            process.settleCall = self._reactor.callLater(delay, self._settle, process, how.cause)
        self.consultPool()

    def streamsClosed(self, process: ChildProcess) -> None:
        """Note that a child has ended and all that it wrote has been read."""
        self._openStreams.discard(process)
        self._fireIfGone()

    def _settle(self, process: ChildProcess, cause: str) -> None:
        """Requeue the requests of a child whose process has ended, and forget the child."""
        cancel(process.settleCall)
        process.settleCall = None
        self._byIdentity.pop(process.identity, None)
        self._loseWorker(process.identity, f"it ended with {cause}")
        self._connections.drop(process.identity)
        self._fireIfGone()

    def _fireIfGone(self) -> None:
        if self._pool.mode is not Mode.CLOSING or self._children or self._byIdentity or self._openStreams:
            return
        self.stop()
        whenGone, self._whenGone = self._whenGone, []
        for gone in whenGone:
            gone.callback(None)

    # --- status and log

    def _statusOf(self, process: ChildProcess) -> ChildStatus:
        state = process.child.state
        if state is ChildState.READY:
            return ChildStatus.WAITING if self._dispatcher.isIdle(process.identity) else ChildStatus.PROCESSING
        return ChildStatus(state.value)

    def _reportStatus(self, process: ChildProcess, status: ChildStatus) -> None:
        before, process.reportedStatus = process.reportedStatus, status
        if before is not status:
            self._events.statusChanged(process.pid, before, status)

    def _reportLeaving(self, process: ChildProcess) -> None:
        """Report that a child is retiring, unless its end has been reported."""
        if process.child.state is not ChildState.GONE:
            self._reportStatus(process, ChildStatus.RETIRING)

    def _logExit(self, process: ChildProcess, how: ChildExit, retiring: bool) -> None:
        """
        Log the end of a child: as a warning if it was not asked to leave.

        While no worker has ever been ready it is no warning, because the server itself reports that it cannot start.
        """
        if retiring or (process.child.kind is ChildKind.DEQUEUE and how.clean):
            text, verbosity = "worker {pid} has left: {how}", DETAIL
        elif process.child.readyAt is None:
            text, verbosity = "worker {pid} could not start: {how}", 1 if self._pool.everReady else DETAIL
        else:
            text, verbosity = "worker {pid} ended while {status}: {how}", 1
        log = self._log.warn if verbosity == 1 else self._log.info
        status = process.closedStatus or self._statusOf(process)
        log(text, pid=process.pid, how=str(how), status=status.value, verbosity=verbosity)
