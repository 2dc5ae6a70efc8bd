"""The protocol between the sockets and the broker: parse each message, check its sender, and act on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

import pirate
from pirate.broker.broker import Broker
from pirate.broker.gate import RequestFilter
from pirate.broker.interfaces import Outgoing, Sender
from pirate.broker.request import NativeRequest, Request, State, readRequest
from pirate.pool.pool import Mode, Pool
from pirate.server.logs import AppErrorLog, RateLimitedLog, ServerLog
from pirate.server.pending import Waiting
from pirate.server.supervisor import Supervisor
from pirate.wire.backend import Failure, Part, Reply, Status, parseWorkerMessage
from pirate.wire.foreign import FOREIGN, MAJORDOMO, recognize
from pirate.wire.frontend import parseRequest
from pirate.wire.words import Code, Malformed, readText

#: What a client is told of a message that is more than may be.
TOO_MUCH = {
    "frame-too-large": "a frame of it is larger than max-message-size allows",
    "too-large": "there is more in it than max-message-total allows",
    "too-many-frames": "it has more frames than max-message-frames allows",
}
#: What a client is told that has connected to the workers' socket.
WRONG_SOCKET = "this is the backend: a client is calling the backend, where workers connect; call the frontend"
#: Seconds without a turn that was due after which this process must have been stopped itself, and for which it reads
#: then before any worker counts as late: ZeroMQ's thread, which was stopped too, has to fetch what has come.
STOOD_STILL, CATCH_UP = 1.0, 0.1
#: The codes of a worker's errors that are the app's own.
_OF_THE_APP = frozenset({Code.APP_ERROR, Code.TIMEOUT})


class ProtocolTransport(Outgoing, Protocol):
    """The part of a transport that the protocol uses."""

    def workerSender(self) -> Sender:
        """Return the sender of the worker's message that is being read."""

    def wake(self) -> None:
        """Schedule a turn."""


class ProtocolEvents(Protocol):
    """What the protocol asks of the server, and reports to it."""

    def condition(self) -> dict[str, Any]:
        """Return the server's state for the reply to a ping."""

    def turnEnded(self) -> None:
        """Look at the pool: requests wait, too few workers are idle, or the server is stopping."""


class BrokerProtocol:
    """
    Receives what the transport reads, and takes each message to the broker once it has been understood.

    It implements :class:`~pirate.transport.interfaces.TransportEvents`.

    :param broker: receives the requests and the replies.
    :param supervisor: knows which workers are children of this server.
    :param pool: tells how many workers should be idle.
    :param transport: sends messages.
    :param events: the server.
    :param requestFilter: decides whether a client may send a request; ``None``: every client may.
    :ivar waiting: the clients whose requests wait.
    """

    def __init__(
        self,
        clock: IReactorTime,
        log: ServerLog,
        broker: Broker,
        supervisor: Supervisor,
        pool: Pool,
        transport: ProtocolTransport,
        events: ProtocolEvents,
        requestFilter: RequestFilter | None,
    ) -> None:
        self._clock = clock
        self._broker = broker
        self._supervisor = supervisor
        self._pool = pool
        self._transport = transport
        self._events = events
        self._filter = requestFilter
        self._timer: IDelayedCall | None = None
        self._due = float("inf")
        self._patience = float("-inf")
        self.waiting = Waiting(broker.withdraw)
        self._errors = AppErrorLog(clock, log)
        self._atFrontend = RateLimitedLog(clock, log, "messages dropped at the frontend")
        self._atBackend = RateLimitedLog(clock, log, "messages dropped at the backend")
        self._foreign = RateLimitedLog(clock, log, "messages of another protocol at the frontend")
        self._received: dict[type, Callable[[Any], None]] = {
            Reply: self._reply,
            Part: self._part,
            Failure: self._failure,
            Status: self._status,
            type(None): lambda greeting: None,
        }

    def droppedCounts(self) -> dict[str, int]:
        """Return how many messages were dropped, which meant nothing or came from nobody we know, by reason."""
        return dict(self._atFrontend.counts + self._atBackend.counts)

    def stop(self) -> None:
        """Stop the timer, and log what has been counted and not logged yet."""
        self._setTimer(float("inf"))
        for each in (self._errors, self._atFrontend, self._atBackend, self._foreign):
            each.stop()

    def clientMessageReceived(self, frames: list[bytes], sender: Sender) -> None:
        """
        A message has come from the frontend.

        :param sender: what the transport knows of who sent it.
        """
        message = parseRequest(frames)
        if isinstance(message, tuple):
            route, body, key, options = message
            request = NativeRequest(route, body, key, options) if key else Request(route, body)
            if request.route[0] in self.waiting.departed and self.waiting.hasDeparted(request.route[0], sender):
                self._broker.noteDeparted(request)
                return
            if len(body) > 1 and len(body[0]) == 6 and body[0] in MAJORDOMO:
                self._noteForeign(request, sender)
            if self._filter is not None:
                refusal = self._filter.refusal(request, sender, self._broker.now)
                if refusal is not None:
                    self._broker.refuse(request, *refusal)
                    return
            # Also before it is known: the very first requests are as hostile as any.
            if self._broker.wantsContext is not False:
                request.peer, request.user = sender.address(), sender.userId()
            elif sender.known:
                request.user = sender.userId()
            if isinstance(request, NativeRequest):
                self._native(request, sender)
            else:
                self._broker.requestReceived(request)
                if request.state is State.QUEUED and not self.waiting.add(request, sender):
                    self._broker.withdraw(request)
        elif message is not None:
            self._dropAtFrontend(recognize(frames) or message.reason, sender)
            if message.reply is not None:
                self._transport.toClient(message.reply)

    def revokedClientMessageReceived(self, frames: list[bytes]) -> None:
        """A message has come from a client whose key has been removed since it connected."""
        self._atFrontend.count("key-removed")
        request = readRequest(frames)
        if isinstance(request, NativeRequest):
            self._transport.toClient(request.error(Code.DENIED, "its key has been removed"))

    def clientDisconnected(self, connection: int) -> None:
        """Withdraw the requests of a client whose connection has been closed."""
        self.waiting.gone(connection)
        if self._filter is not None:
            self._filter.gone(connection)
        # The server may have nothing to do any more, or many requests to withdraw.
        self._transport.wake()

    def isOwnWorker(self, pid: int) -> bool:
        """Tell whether a process is a worker of this server."""
        return self._supervisor.isChild(pid)

    def workerDisconnected(self, connection: int) -> None:
        """Note that a connection of the backend has been closed."""
        self._supervisor.connectionClosed(connection)

    def replyUndelivered(self) -> None:
        """Count a message whose client is gone, or does not read."""
        self._broker.replies.countUndelivered()

    def workerMessagesUndelivered(self, messages: list[Sequence[bytes]]) -> None:
        """Take back messages whose workers are gone, or do not read."""
        self._broker.missed(messages)

    # --- the turns of the transport

    def turnStarted(self) -> bool:
        """
        Note the time of a turn, which is that of all its messages.

        :return: whether something is due.
        """
        broker = self._broker
        now = self._clock.seconds()
        late = now >= broker.due
        if late and now - max(broker.due, broker.now) > STOOD_STILL:
            self._patience = now + CATCH_UP
        broker.now = now
        return late

    def wantsRequests(self) -> bool:
        """Tell whether the frontend should be read."""
        return self._broker.wantsMore()

    def mayPeek(self) -> bool:
        """Tell whether one more message of the frontend may be read although no requests are wanted."""
        return self._broker.mayLook()

    def secondsUntilPeek(self) -> float | None:
        """Return in how many seconds to ask :meth:`mayPeek` again; ``None``: after the next event."""
        return self._broker.untilLook()

    def hasBacklog(self) -> bool:
        """Tell whether requests wait for workers."""
        return self._broker.backlog > 0

    def turnEnded(self) -> None:
        """Do what is due, and set the timer for what is due next."""
        broker = self._broker
        # Not before what has come is read: if this process stood still, there are replies that came in time.
        due = broker.tick(broker.now) if broker.now >= self._patience else max(broker.due, self._patience)
        if self.waiting.orphans:
            self.waiting.withdraw()
            due = broker.now
        if broker.isShort(self._pool.limits.minSpareServers) or self._pool.mode is not Mode.RUNNING:
            self._events.turnEnded()
        if due != self._due:
            self._setTimer(due)

    def _setTimer(self, due: float) -> None:
        """Schedule a turn for the time at which something is due."""
        self._due = due
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if due != float("inf"):
            self._timer = self._clock.callLater(max(due - self._clock.seconds(), 0), self._takeTurn)

    def _takeTurn(self) -> None:
        self._due = float("inf")
        self._transport.wake()

    # --- messages

    def takeHeldBack(self) -> set[int]:
        """Return, once each, the connections of clients whose requests exceed their share of the backlog."""
        return self.waiting.takeHeldBack()

    def clientHungUp(self, connection: int) -> None:
        """A client has closed its connection, although what it has sent before has not all been read."""
        self.waiting.hungUp(connection)

    def clientMessageRejected(self, frames: list[bytes], sender: Sender, reason: str) -> None:
        """
        A client's message is more than may be.

        :param frames: its beginning.
        :param reason: what is too much.
        """
        self._dropAtFrontend(reason, sender)
        request = readRequest(frames)
        if isinstance(request, NativeRequest):
            self._transport.toClient(request.error(Code.DENIED, TOO_MUCH[reason]))

    def workerMessageRejected(self, frames: list[bytes], reason: str) -> None:
        """The same of a worker: if it is an answer, that has failed."""
        self._dropAtBackend(reason, self._transport.workerSender())
        message = parseWorkerMessage(frames)
        if isinstance(message, (Reply, Part)):
            self._broker.failureReceived(
                message.worker, message.request, Code.APP_ERROR, f"the answer: {TOO_MUCH[reason]}"
            )

    def workerMessageReceived(self, frames: list[bytes]) -> None:
        """A message has come from the backend."""
        message = parseWorkerMessage(frames)
        if type(message) is Malformed:
            self._notOfWorker(frames, message.reason)
        else:
            self._received[type(message)](message)

    def _native(self, request: NativeRequest, sender: Sender) -> None:
        if request.command == "request":
            self._broker.requestReceived(request)
            if request.state is State.QUEUED:
                if not self.waiting.add(request, sender):
                    self._broker.withdraw(request)
            elif request.state is State.NEW:
                self._sentAgain(request, sender)
        elif request.command == "ping":
            self._transport.toClient(
                request.pingReply({"server": "pirate", "version": pirate.__version__, **self._events.condition()})
            )
        else:
            self._broker.cancel(request)

    def _sentAgain(self, request: NativeRequest, sender: Sender) -> None:
        """A request has been sent again: if the first still waits, this client waits for it, too."""
        first = self._broker.replies.find(request.key)
        if first is not None and first.state is State.QUEUED:
            self.waiting.add(first, sender, request.route[0])

    def _reply(self, reply: Reply) -> None:
        self._broker.replyReceived(reply.worker, reply.request, reply.body)

    def _part(self, part: Part) -> None:
        self._broker.partReceived(part.worker, part.request, part.body)

    def _failure(self, failure: Failure) -> None:
        try:
            code = Code(failure.code.decode())
        except ValueError:
            code = Code.APP_ERROR
        text = readText(failure.text)
        request = self._broker.failureReceived(failure.worker, failure.request, code, text)
        if request is not None and code in _OF_THE_APP:
            self._errors.report(request, text, readText(failure.trail))

    def _status(self, status: Status) -> None:
        rejection = self._supervisor.statusReceived(status)
        if rejection is not None:
            self._dropAtBackend(rejection.value, self._transport.workerSender())

    # --- what means nothing

    def _notOfWorker(self, frames: list[bytes], reason: str) -> None:
        """Drop a message from the backend that no worker would send; a native client is told where it is."""
        sender = self._transport.workerSender()
        foreign = recognize(frames)
        request = readRequest(frames) if reason == "no-delimiter" else None
        if isinstance(request, NativeRequest):
            self._transport.toWorker(request.error(Code.MALFORMED, WRONG_SOCKET))
            foreign = "client-at-backend"
        elif not foreign and sender.asksOneByOne():
            foreign = "client-at-backend"
        self._dropAtBackend(foreign or reason, sender)

    def _dropAtFrontend(self, reason: str, sender: Sender) -> None:
        self._atFrontend.count(reason, _detail(reason, sender, "frontend"))

    def _dropAtBackend(self, reason: str, sender: Sender) -> None:
        self._atBackend.count(reason, _detail(reason, sender, "backend"))

    def _noteForeign(self, request: Request, sender: Sender) -> None:
        # A body may be anything, so the app gets this one, too.
        reason = MAJORDOMO[request.body[0]]
        self._foreign.count(reason, f"{_detail(reason, sender, 'frontend')}; the app gets its frames as they are")


def _detail(reason: str, sender: Sender, socket: str) -> str:
    """Say who sent the last of the messages that were dropped, and what it seems to be."""
    told = f"the last one from {sender.address() or 'an unknown address'}"
    if reason == "client-at-backend":
        return f"{told}: a client is calling the backend, where workers connect; clients call the frontend"
    if reason in FOREIGN:
        return f"{told}: {FOREIGN[reason]} is calling the {socket}; this server does not speak that protocol"
    return told
