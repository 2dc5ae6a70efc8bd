"""The pool's decisions, carried out: real children, what they say, and how they end."""

from __future__ import annotations

import errno
from collections.abc import Callable, Container
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from pirate.broker.broker import Broker
from pirate.pool.actions import Action, CutOff, GiveUp, Reloaded, Retire, Signal, Spawn, Sweep
from pirate.pool.child import ChildExit, ChildKind, ChildState
from pirate.pool.pool import Mode, Pool
from pirate.pool.scaling import Load
from pirate.server.logs import DETAIL, ServerLog
from pirate.server.member import Member, Rejection
from pirate.server.output import OutputLog
from pirate.server.process import WorkerProcess, isStopped, residentMemory, sweep
from pirate.wire.backend import Status
from pirate.wire.job import Job
from pirate.wire.words import DEQUEUE, EXITING, HEARTBEAT, WAITING

#: Times that the start of a process is tried when there are no file descriptors left, and seconds between two.
SPAWN_TRIES, SPAWN_AGAIN = 40, 0.05
#: Seconds that a dead worker's last answers have to arrive before what it held is given to others.
LAST_ANSWERS = 0.005
#: The same for a worker that left as it was asked to, and so has answered all that it held.
LAST_ANSWERS_RETIRED = 1.0
#: Seconds that the process of a worker whose connection has been closed has to end by itself before it is stopped.
CLOSED_GRACE = 1.0


class Supervisor:
    """
    Asks the pool what to do, and does it.

    :param reactor: the reactor.
    :param broker: who has to be told of workers that come and go.
    :ivar job: the job of all workers, set before the first is spawned.
    :ivar identities: the routing ids of this server's own workers.
    :ivar introduce: called with a child's identity before it starts; gives the keys that the backend will ask it for.
    :ivar forget: called with these when it has ended.
    :ivar speaker: the address that the message being read has come from.
    :ivar ended: called with the identity of a worker whose process has ended, when its last answers have been read.
    :ivar asked: called after the pool was looked at.
    :ivar cutOff: called when the time for stopping is over.
    :ivar reloaded: called with the error, or ``None``, when a reload has ended.
    :ivar gaveUp: called with the reason when the first workers cannot start.
    :ivar watch: the hooks: called with a hook's name and its arguments.
    """

    def __init__(self, reactor: Any, log: ServerLog, pool: Pool, broker: Broker) -> None:
        self._reactor = reactor
        self._log = log
        self._output = OutputLog(reactor, log)
        self._pool = pool
        self._broker = broker
        self.job: Job
        self._members: dict[int, Member] = {}
        self._byIdentity: dict[bytes, Member] = {}
        self.identities: Container[bytes] = self._byIdentity.keys()
        self._streams: set[WorkerProcess] = set()
        self._wake: IDelayedCall | None = None
        self._asking = False
        self._gone: list[Deferred[None]] = []
        self.spawns = 0
        self.exits: dict[str, int] = {}
        self.introduce: Callable[[bytes], dict[str, str]] = lambda identity: {}
        self.forget: Callable[[dict[str, str]], None] = lambda keys: None
        self.workerAddress: Callable[[], str | None] = lambda: None
        self.ended: Callable[[bytes], None] = lambda identity: None
        self.asked: Callable[[], None] = lambda: None
        self.cutOff: Callable[[], None] = lambda: None
        self.reloaded: Callable[[str | None], None] = lambda error: None
        self.gaveUp: Callable[[str], None] = lambda reason: None
        self.watch: Callable[..., None] = lambda name, *arguments: None
        self._carryOut: dict[type, Callable[[Any], None]] = {
            Spawn: self._spawn,
            Retire: self._retire,
            Signal: self._signal,
            Sweep: lambda action: sweep(),
            CutOff: lambda action: self.cutOff(),
            Reloaded: lambda action: self.reloaded(action.error),
            GiveUp: lambda action: self.gaveUp(action.reason),
        }

    # --- asking

    def ask(self) -> None:
        """Ask the pool what to do, do it, and ask again when it says so."""
        if self._asking:
            return
        self._asking = True
        try:
            while actions := self._pool.decide(self._reactor.seconds(), self.load()):
                self._announceSpawns(actions)
                for action in actions:
                    self._carryOut[type(action)](action)
        finally:
            self._asking = False
        self.watch("idle")
        self.asked()
        self._schedule()
        self._tellGone()

    def stop(self) -> None:
        """Ask no more."""
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        self._wake = None

    def whenGone(self) -> Deferred[None]:
        """Fires when there is no child left."""
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self._tellGone()
        return gone

    def load(self) -> Load:
        """What the pool needs to know of the broker."""
        idle = {key for key, member in self._members.items() if self._isFree(member)}
        memory = {}
        if self._pool.limits.maxMemory:
            memory = {key: residentMemory(member.process.pid) for key, member in self._members.items()}
        return Load(idle, self._broker.backlog, self._broker.counters.received, memory)

    def _isFree(self, member: Member) -> bool:
        """Whether one that leaves holds nothing any more, and one that stays could do with more."""
        if member.child.state is not ChildState.RETIRING:
            return self._broker.isSpare(member.identity)
        # One that has said that it is leaving is not known to the broker any more.
        return not self._broker.knows(member.identity) or self._broker.isIdle(member.identity)

    def isChild(self, pid: int) -> bool:
        """Tell whether a process is a worker of this server."""
        return any(member.process.pid == pid for member in self._members.values())

    def readyCount(self) -> int:
        """How many workers are ready."""
        return sum(member.child.state is ChildState.WAITING for member in self._members.values())

    def states(self) -> dict[int, ChildState]:
        """Each child's process id and state."""
        return {member.process.pid: self._state(member) for member in self._members.values()}

    def _schedule(self) -> None:
        self.stop()
        if self._members or self._pool.mode is not Mode.CLOSING:
            now = self._reactor.seconds()
            self._wake = self._reactor.callLater(max(self._pool.nextDecision(now) - now, 0), self.ask)

    # --- what children say

    def announced(self, status: Status) -> Rejection | None:
        """
        A worker has said something of itself.

        :return: ``None`` if it is one of ours, and otherwise why it is not.
        """
        member = self._byIdentity.get(status.worker)
        if member is None:
            return Rejection.STRANGER
        if member.child.state is ChildState.STARTING:
            rejection = member.rejection(status, self.workerAddress())
            if rejection is not None or status.word not in (WAITING, DEQUEUE):
                return rejection or Rejection.NOT_READY
            self._ready(member, status)
        elif status.word == EXITING:
            self._leaving(member)
        elif status.word == HEARTBEAT:
            self._broker.workerAlive(status.worker)
        elif status.info is not None and member.child.kind is ChildKind.WORKER and self._broker.knows(status.worker):
            self._broker.workerReady(status.worker, status.info)
        return None

    def _ready(self, member: Member, status: Status) -> None:
        member.process.becameReady()
        self._pool.childReady(member.child, self._reactor.seconds())
        self._changed(member, member.child.state)
        self._log.info("worker {pid} is ready", pid=member.process.pid, verbosity=DETAIL)
        if member.child.kind is ChildKind.WORKER:
            self._broker.workerReady(member.identity, status.info, member.child.lifetime)
        self.ask()

    def _leaving(self, member: Member) -> None:
        """All that it had to say has arrived."""
        member.left = True
        self._pool.childLeaving(member.child, self._reactor.seconds())
        self._changed(member, member.child.state)
        self._broker.workerGone(member.identity, "leaving", died=False)
        if member.reapCall is not None:
            self._reap(member, "leaving")
        self.ask()

    # --- what the broker reports

    def lifetimeHalved(self, identity: bytes) -> None:
        """Let the pool start a successor in time."""
        member = self._byIdentity.get(identity)
        if member is not None and self._pool.lifetimeHalved(member.child, self._reactor.seconds()):
            self._reactor.callLater(0, self.ask)

    def lifetimeOver(self, identity: bytes) -> None:
        """Count a worker as leaving, which the broker has asked to leave."""
        member = self._byIdentity.get(identity)
        if member is not None:
            self._pool.childLeaving(member.child, self._reactor.seconds())
            self._changed(member, member.child.state)
            self._reactor.callLater(0, self.ask)

    def workerOverdue(self, identity: bytes, why: str) -> None:
        """Stop a worker that the broker has removed, and let it log what it was doing."""
        member = self._byIdentity.get(identity)
        if member is not None:
            self._pool.abortChild(member.child, self._reactor.seconds(), why)
            self._changed(member, member.child.state)
            self._reactor.callLater(0, self.ask)

    def workerSilent(self, identity: bytes) -> None:
        """Replace a silent worker if a signal has stopped its process."""
        member = self._byIdentity.get(identity)
        if member is not None and isStopped(member.process.pid):
            self._broker.workerGone(identity, "being stopped by a signal")
            self.workerOverdue(identity, "it has been stopped by a signal")

    def disconnected(self, identity: bytes, why: str) -> bool:
        """
        Move what a worker holds whose connection has been closed, and stop it if its process does not end by itself.

        A process that exits closes its connection a little before its end can be seen.

        :return: ``False`` if it is not one of ours.
        """
        member = self._byIdentity.get(identity)
        if member is None:
            return False
        # One whose process has ended, or that has said that it is leaving, comes to its end otherwise.
        if member.child.key in self._members and not member.left and member.child.kind is ChildKind.WORKER:
            self._broker.workerGone(identity, why)
            if member.stopCall is None:
                member.stopCall = self._reactor.callLater(CLOSED_GRACE, self._stopUnreachable, member, why)
        return True

    def _stopUnreachable(self, member: Member, why: str) -> None:
        self._log.warn("worker {pid}: {why}", pid=member.process.pid, why=why, verbosity=1)
        self.workerOverdue(member.identity, why)

    def workerUnreachable(self, identity: bytes) -> bool:
        """Let a worker that cannot be reached come to its end; ``False`` if it is not a child of this server."""
        # It may be leaving, and its last answers may be there, unread: what it holds is not for others yet.
        member = self._byIdentity.get(identity)
        if member is None:
            return False
        self._pool.childUnreachable(member.child, self._reactor.seconds())
        self._reactor.callLater(0, self.ask)
        return True

    # --- what is done about children

    def _announceSpawns(self, actions: list[Action]) -> None:
        count = sum(isinstance(action, Spawn) for action in actions)
        if count:
            self.watch("spawning", count)

    def _spawn(self, action: Spawn) -> None:
        member = self._members[action.child.key] = Member(action.child)
        member.process = WorkerProcess(
            self._reactor,
            self._output,
            lambda how: self._exited(member, how),
        )
        self.spawns += 1
        self._start(member, SPAWN_TRIES)

    def _start(self, member: Member, tries: int) -> None:
        """
        Start a child's process.

        :param tries: how often it may still be tried while there are no descriptors left: it may be that connections
            which are too many have been accepted, and are about to be closed.
        """
        member.again = None
        process = member.process
        try:
            member.spawn(self._reactor, self.job, self.introduce)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and tries > 1:
                member.again = self._reactor.callLater(SPAWN_AGAIN, self._start, member, tries - 1)
                return
            self._exited(member, ChildExit("not spawned", message=f"cannot start a process: {error.strerror}"))
            return
        self._byIdentity[member.identity] = member
        self._streams.add(process)
        process.ended = lambda: self._streamsClosed(process)
        self._log.info("worker {pid} was started", pid=process.pid, verbosity=DETAIL)
        self.watch("childStarted", process.pid)

    def _retire(self, action: Retire) -> None:
        member = self._members[action.child.key]
        self._changed(member, member.child.state)
        self._log.info("worker {pid} is retired", pid=member.process.pid, verbosity=DETAIL)
        self._broker.retire(member.identity)

    def _signal(self, action: Signal) -> None:
        member = self._members.get(action.child.key)
        if member is not None and member.again is not None:
            member.again.cancel()
            member.again = None
            self._exited(member, ChildExit("not spawned", message=action.why))
        elif member is not None:
            self._log.info(
                "worker {pid} gets SIG{name}: {why}",
                pid=member.process.pid,
                name=action.name,
                why=action.why,
                # Before any has been ready, the server itself tells why there are none, once.
                verbosity=1 if self._pool.everReady and action.name != "TERM" else DETAIL,
            )
            member.process.signal(action.name)

    # --- how children end

    def _exited(self, member: Member, how: ChildExit) -> None:
        """Tell the pool at once; what the worker held is moved when its last answers have had their time."""
        if member.stopCall is not None and member.stopCall.active():
            member.stopCall.cancel()
        asked = member.child.state is ChildState.RETIRING
        self._logExit(member, how, asked)
        self._pool.childExited(member.child, how, self._reactor.seconds(), self._broker.hasWorked(member.identity))
        self._members.pop(member.child.key, None)
        self.forget(member.keys)
        self.exits[how.cause] = self.exits.get(how.cause, 0) + 1
        self.watch("childExited", member.process.pid, how)
        said = member.left or not how.clean
        if said and (not self._broker.knows(member.identity) or self._broker.isIdle(member.identity)):
            self._reap(member, how.cause)
        else:
            self._broker.withhold(member.identity)
            delay = LAST_ANSWERS_RETIRED if asked and how.clean else LAST_ANSWERS
            member.reapCall = self._reactor.callLater(delay, self._reap, member, how.cause)
        self.ask()
        self._tellGone()

    def _reap(self, member: Member, cause: str) -> None:
        if member.reapCall is not None and member.reapCall.active():
            member.reapCall.cancel()
        member.reapCall = None
        self._byIdentity.pop(member.identity, None)
        self._broker.workerGone(member.identity, cause)
        self.ended(member.identity)
        self._tellGone()

    def _streamsClosed(self, process: WorkerProcess) -> None:
        self._streams.discard(process)
        self._tellGone()

    def _tellGone(self) -> None:
        if self._pool.mode is not Mode.CLOSING or self._members or self._byIdentity or self._streams:
            return
        self.stop()
        waiting, self._gone = self._gone, []
        for gone in waiting:
            gone.callback(None)

    # --- words about it

    def _state(self, member: Member) -> ChildState:
        state = member.child.state
        if state is ChildState.WAITING and not self._broker.isIdle(member.identity):
            return ChildState.PROCESSING
        return state

    def _changed(self, member: Member, after: ChildState) -> None:
        before, member.told = member.told, after
        if before is not after and after is not ChildState.GONE:
            self.watch("statusChanged", member.process.pid, before, after)

    def busyChanged(self, identity: bytes, busy: bool) -> None:
        """A worker has been given its first request, or has answered its last."""
        member = self._byIdentity.get(identity)
        if member is not None and member.child.state is ChildState.WAITING:
            self._changed(member, ChildState.PROCESSING if busy else ChildState.WAITING)

    def _logExit(self, member: Member, how: ChildExit, asked: bool) -> None:
        """Loudly, unless it had been asked to leave, or is one of the first, whose failure the server tells itself."""
        if asked or (member.child.kind is ChildKind.DEQUEUE and how.clean):
            text, level = "worker {pid} has left: {how}", DETAIL
        elif member.child.readyAt is None:
            text, level = "worker {pid} could not start: {how}", 1 if self._pool.everReady else DETAIL
        else:
            text, level = "worker {pid} ended while {state}: {how}", 1
        log = self._log.warn if level == 1 else self._log.info
        log(text, pid=member.process.pid, how=str(how), state=self._state(member).value, verbosity=level)
