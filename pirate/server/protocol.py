"""The protocol between the sockets and the broker: parse each message, check its sender, and act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

import pirate
from pirate.broker.broker import Broker
from pirate.broker.interfaces import Outgoing, Sender
from pirate.broker.quota import RequestFilter
from pirate.broker.request import BatchedRequest, NativeRequest, Request, State, readRequest
from pirate.pool.pool import Mode, Pool
from pirate.server.logs import AppErrorLog, RateLimitedLog, ServerLog
from pirate.server.supervisor import Supervisor
from pirate.server.waitingclients import WaitingClients
from pirate.wire.backend import ErrorReply, PackedReplies, Part, Status, parseWorkerMessage
from pirate.wire.foreign import FOREIGN, MAJORDOMO, recognize
from pirate.wire.frontend import errorFrames, parseRequest, parseRequests
from pirate.wire.words import Code, Malformed, readText

#: The error that a client gets for a rejected message, by reason.
REJECTED = {
    "frame-too-large": "a frame of it is larger than max-message-size allows",
    "too-large": "there is more in it than max-message-total allows",
    "too-many-frames": "it has more frames than max-message-frames allows",
    "key-removed": "its key has been removed",
}
#: The reason why a connection is closed whose message goes on beyond the limit.
UNFINISHED = "unfinished"
#: The error that a native client gets that has connected to the backend.
WRONG_SOCKET = "this is the backend: a client is calling the backend, where workers connect; call the frontend"
#: A turn more than STOOD_STILL seconds late means that this process was stopped.  No worker counts as late for CATCH_UP
#: seconds after that, so that ZeroMQ's thread can fetch what has come.
STOOD_STILL, CATCH_UP = 1.0, 0.1
#: The codes of a worker's errors that are the app's own.
_OF_THE_APP = frozenset({Code.APP_ERROR, Code.TIMEOUT})


class ProtocolTransport(Outgoing, Protocol):
    """The part of a transport that the protocol uses."""

    identifiesClients: bool

    def clientSender(self) -> Sender:
        """Return the sender of the client message that is being processed."""

    def workerSender(self) -> Sender:
        """Return the sender of the worker's message that is being read."""

    def wake(self) -> None:
        """Schedule a turn."""


class ProtocolEvents(Protocol):
    """The server, as far as the protocol asks it or reports to it."""

    def condition(self) -> dict[str, Any]:
        """Return the server's state for the reply to a ping."""

    def consultPoolIfNeeded(self) -> None:
        """Consult the pool if it could act: requests wait, too few workers are idle, or the server is stopping."""


class BrokerProtocol:
    """
    The receiver of what the transport reads: it parses each message, and passes it to the broker or the supervisor.

    It implements :class:`~pirate.transport.interfaces.TransportEvents`; it is no ``IProtocol`` of Twisted's.

    :param broker: receives the requests and the replies.
    :param supervisor: knows which workers are children of this server.
    :param pool: tells how many workers should be idle.
    :param transport: sends messages.
    :param events: the server.
    :param requestFilter: decides whether a client may send a request; ``None``: every client may.
    :param takesBatches: whether clients may send several requests in a message; it may be longer than one request.
    :ivar waitingClients: the clients whose requests wait.
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
        takesBatches: bool = True,
    ) -> None:
        self._clock = clock
        self._broker = broker
        self._dispatcher = broker.dispatcher
        self._queues = broker.queues
        self._deadlines = broker.deadlines
        self._backpressure = broker.backpressure
        self._supervisor = supervisor
        self._pool = pool
        self._transport = transport
        self._events = events
        self._filter = requestFilter
        self._takesBatches = takesBatches
        self._timer: IDelayedCall | None = None
        self._due = float("inf")
        self._patience = float("-inf")
        self.waitingClients = WaitingClients(broker)
        self._errors = AppErrorLog(clock, log)
        self._atFrontend = RateLimitedLog(clock, log, "messages dropped at the frontend")
        self._atBackend = RateLimitedLog(clock, log, "messages dropped at the backend")
        self._foreign = RateLimitedLog(clock, log, "messages of another protocol at the frontend")

    def droppedCounts(self) -> dict[str, int]:
        """Return how many messages were dropped as malformed or of an unknown sender, by reason."""
        return dict(self._atFrontend.counts + self._atBackend.counts)

    def stop(self) -> None:
        """Stop the timer, and log what has been counted and not logged yet."""
        self._setTimer(float("inf"))
        for each in (self._errors, self._atFrontend, self._atBackend, self._foreign):
            each.stop()

    # --- the turns of the transport

    def turnStarted(self) -> bool:
        """
        Note the time of a turn, which is the time of all its messages.

        :return: whether something is due, so that the backend should be read to its end first.
        """
        deadlines = self._deadlines
        now = self._clock.seconds()
        late = now >= deadlines.due
        if late and now - max(deadlines.due, deadlines.now) > STOOD_STILL:
            self._patience = now + CATCH_UP
        deadlines.now = now
        return late

    def turnEnded(self) -> None:
        """Do what is due, ask the server to look at the pool if it should, and set the timer for what is due next."""
        deadlines, dispatcher, pool = self._deadlines, self._dispatcher, self._pool
        if deadlines.due <= deadlines.now >= self._patience:
            dispatcher.enforceDeadlines()
        due = deadlines.due
        if due < self._patience:
            # What came while this process stood still is read before any worker counts as late.
            due = self._patience
        if self.waitingClients.toWithdraw:
            self.waitingClients.withdrawBatch()
            due = deadlines.now
        # As in ``Dispatcher.idle``, which is not called in every turn.
        idle = len(dispatcher.workers) - dispatcher.busy
        if self._queues.waiting or idle < pool.limits.minSpareServers or pool.mode is not Mode.RUNNING:
            self._events.consultPoolIfNeeded()
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

    def wantsRequests(self) -> bool:
        """Return whether the transport should read the frontend at all."""
        return not self._queues.waiting or self._backpressure.wantsRequests()

    def mayReadExtra(self) -> bool:
        """Return whether the transport may read one more message of the frontend although no requests are wanted."""
        return self._backpressure.mayReadExtra()

    def secondsUntilExtraRead(self) -> float:
        """Return in how many seconds to ask :meth:`mayReadExtra` again."""
        return self._backpressure.secondsUntilExtraRead()

    def takeHeldBack(self) -> set[int]:
        """Return, once each, the connections of clients whose requests exceed their share of the backlog."""
        return self.waitingClients.takeHeldBack()

    # --- messages of clients

    def clientMessageReceived(self, frames: list[bytes]) -> int:
        """
        Process a message from the frontend; the first frame is the client's routing id.

        :return: how many requests it contains in excess of one.
        """
        message = parseRequest(frames)
        if not isinstance(message, tuple):
            if message is not None:
                self._dropAtFrontend(recognize(frames) or message.reason)
                if message.reply is not None:
                    self._transport.toClient(message.reply)
            return 0
        route, body, requestId, options = message
        requests: Sequence[Request]
        if "command" in options and options["command"] == "batch":
            requests = self._unpack(route, body, requestId, options)
        else:
            # As in ``readRequest``, which is not called for every message.
            requests = (NativeRequest(route, body, requestId, options) if requestId else Request(route, body),)
        client = route[0]
        waitingClients = self.waitingClients
        failure: Exception | None = None
        for request in requests:
            # The error of one request in a batch, such as that of a hook, does not concern the others.
            try:
                if client in waitingClients.closedConnections and waitingClients.hasDisconnected(
                    client, self._transport.clientSender()
                ):
                    self._broker.noteDisconnected(request)
                    continue
                if len(body) > 1 and len(body[0]) == 6 and body[0] in MAJORDOMO:
                    self._noteForeign(request)
                if self._filter is not None:
                    refusal = self._filter.admit(request, self._transport.clientSender(), self._deadlines.now)
                    if refusal is not None:
                        self._broker.refuse(request, *refusal)
                        continue
                # As long as no worker has come, one may still want the context.
                if self._dispatcher.wantsContext is not False:
                    sender = self._transport.clientSender()
                    request.peer, request.user = sender.address(), sender.userId()
                elif self._transport.identifiesClients:
                    request.user = self._transport.clientSender().userId()
                if request.command == "request":
                    self._broker.requestReceived(request)
                    if request.state is State.QUEUED:
                        self._addWaiting(request)
                    elif request.state is State.NEW:
                        self._noteSentAgain(request)
                    elif request.state is State.DONE:
                        waitingClients.noteRefused(client)
                else:
                    self._commandReceived(request)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure
        return len(requests) - 1

    def _unpack(
        self, route: list[bytes], body: list[bytes], batchId: bytes, options: Mapping[str, Any]
    ) -> Sequence[Request]:
        """
        Return the requests in a batch.

        A batch that is malformed, or came through a proxy, gets an error, and its client sends the requests singly.
        """
        requests: Sequence[Request] = ()
        if self._takesBatches and len(route) == 3:
            requests = _requestsIn(route, body, options.get("service", ""))
        if requests:
            self._backpressure.noteBatch(len(requests))
        else:
            self._dropAtFrontend("bad-batch")
            self._transport.toClient(errorFrames(route, batchId, Code.MALFORMED, "the batch is not accepted", 0))
        return requests

    def _commandReceived(self, request: Request) -> None:
        if request.command == "ping":
            facts = {"server": "pirate", "version": pirate.__version__, **self._events.condition()}
            self._transport.toClient(request.pingReply(facts))
        else:
            self._broker.cancel(request)

    def _addWaiting(self, request: Request) -> None:
        """Note the client of a request that waits for a worker; withdraw the request if the client has gone."""
        if not self.waitingClients.add(request, self._transport.clientSender()):
            self._broker.withdraw(request)

    def _noteSentAgain(self, request: Request) -> None:
        """Note that a client waits for a request that it has sent again, if the first one still waits."""
        first = self._broker.replies.find(request.requestId)
        if first is not None and first.state is State.QUEUED:
            self.waitingClients.add(first, self._transport.clientSender(), request.route[0])

    def clientMessageRejected(self, frames: list[bytes], reason: str) -> None:
        """
        Reject a client message that exceeds a limit, or whose sender's key was removed after it had connected.

        :param frames: the beginning of the message.
        :param reason: a key of ``REJECTED``.
        """
        self._dropAtFrontend(reason)
        request = readRequest(frames)
        rejected: Sequence[Request | Malformed | None] = (request,)
        if isinstance(request, NativeRequest) and request.command == "batch":
            # A client knows the id of its first batch, but of each request in the later ones.
            rejected = (request, *_requestsIn(request.route, request.body, request.service))
        for each in rejected:
            error = _errorFor(each, Code.DENIED, REJECTED[reason])
            if error is not None:
                self._transport.toClient(error)

    def clientDisconnected(self, connection: int) -> None:
        """Withdraw the requests of a client whose connection is closed."""
        self.waitingClients.disconnected(connection)
        if self._filter is not None:
            self._filter.gone(connection)
        # The server may have nothing to do any more, or many requests to withdraw.
        self._transport.wake()

    def clientHungUp(self, connection: int) -> None:
        """Withdraw the requests of a client that has closed its connection while messages of it are still unread."""
        self.waitingClients.hungUp(connection)

    def clientMessageUnfinished(self, address: str | None) -> None:
        """Count a client whose connection is closed, because its message goes on beyond the limit."""
        self._atFrontend.count(UNFINISHED, _lastAddress(address))

    def replyUndelivered(self) -> None:
        """Count a message whose client is gone, or does not read."""
        self._broker.replies.replyUndelivered()

    # --- messages of workers

    def workerMessageReceived(self, frames: list[bytes]) -> int | None:
        """
        Process a message from the backend; the first frame is the worker's routing id.

        :return: how many replies it contains in excess of one, if any.
        """
        message = parseWorkerMessage(frames)
        if isinstance(message, tuple):
            self._dispatcher.replyReceived(*message)
        elif isinstance(message, PackedReplies):
            self._dispatcher.repliesReceived(message.worker, message.requests, message.bodies)
            return len(message.requests) - 1
        elif isinstance(message, Status):
            rejection = self._supervisor.statusReceived(message)
            if rejection is not None:
                self._dropAtBackend(rejection.value, self._transport.workerSender())
        elif isinstance(message, Part):
            self._dispatcher.partReceived(message.worker, message.request, message.body)
        elif isinstance(message, ErrorReply):
            self._errorReplyReceived(message)
        elif message is not None:
            self._dropForeign(frames, message.reason)
        return None

    def _errorReplyReceived(self, error: ErrorReply) -> None:
        try:
            code = Code(error.code.decode())
        except ValueError:
            code = Code.APP_ERROR
        text = readText(error.text)
        request = self._dispatcher.failureReceived(error.worker, error.request, code, text)
        if request is not None and code in _OF_THE_APP:
            self._errors.report(request, text, readText(error.trail))

    def workerMessageRejected(self, frames: list[bytes], reason: str) -> None:
        """Reject a worker message that exceeds a limit; if it is a reply, its request fails."""
        self._dropAtBackend(reason, self._transport.workerSender())
        message = parseWorkerMessage(frames)
        error = f"the reply: {REJECTED[reason]}"
        if isinstance(message, tuple):
            self._dispatcher.failureReceived(message[0], message[1], Code.APP_ERROR, error)
        elif isinstance(message, Part):
            self._dispatcher.failureReceived(message.worker, message.request, Code.APP_ERROR, error)
        elif isinstance(message, PackedReplies):
            for request in message.requests:
                self._dispatcher.failureReceived(message.worker, request, Code.APP_ERROR, error)

    def workerMessagesUndelivered(self, messages: list[Sequence[bytes]]) -> None:
        """Give the requests in messages whose workers are gone, or do not read, to other workers."""
        self._dispatcher.workerMessagesUndelivered(messages)

    def workerMessageUnfinished(self, address: str | None) -> None:
        """Count the same of a peer of the backend."""
        self._atBackend.count(UNFINISHED, _lastAddress(address))

    def backendConnectionClosed(self, connection: int) -> None:
        """Note that a connection of the backend is closed."""
        self._supervisor.connectionClosed(connection)

    def isOwnWorker(self, pid: int) -> bool:
        """Return whether a process is one of the server's own workers."""
        return self._supervisor.isChild(pid)

    # --- dropped messages

    def _dropForeign(self, frames: list[bytes], reason: str) -> None:
        """Drop a message from the backend that no worker would send, and tell its sender, if it understands errors."""
        sender = self._transport.workerSender()
        foreign = recognize(frames)
        request = readRequest(frames) if reason == "no-delimiter" else None
        error = _errorFor(request, Code.MALFORMED, WRONG_SOCKET)
        if error is not None:
            self._transport.toWorker(error)
            foreign = "client-at-backend"
        elif not foreign and sender.asksOneByOne():
            foreign = "client-at-backend"
        self._dropAtBackend(foreign or reason, sender)

    def _dropAtFrontend(self, reason: str) -> None:
        self._atFrontend.count(reason, _detail(reason, self._transport.clientSender(), "frontend"))

    def _dropAtBackend(self, reason: str, sender: Sender) -> None:
        self._atBackend.count(reason, _detail(reason, sender, "backend"))

    def _noteForeign(self, request: Request) -> None:
        # A body may be anything, so the app gets this one, too.
        reason = MAJORDOMO[request.body[0]]
        detail = _detail(reason, self._transport.clientSender(), "frontend")
        self._foreign.count(reason, f"{detail}; the app gets its frames as they are")


def _requestsIn(route: list[bytes], body: list[bytes], service: str) -> list[Request]:
    """Return the requests in a batch; none if it is malformed."""
    parsed = parseRequests(body)
    return [BatchedRequest(route, [payload], each, service, timeout) for each, timeout, payload in parsed or ()]


def _errorFor(request: Request | Malformed | None, code: Code, message: str) -> list[bytes] | None:
    """Return the frames of an error for a request; ``None`` if its client does not understand errors."""
    return request.error(code, message, errorReply=False) if isinstance(request, Request) else None


def _lastAddress(address: str | None) -> str:
    return f"the last one from {address or 'an unknown address'}"


def _detail(reason: str, sender: Sender, socket: str) -> str:
    """Describe the sender of the last message that was dropped."""
    told = _lastAddress(sender.address())
    if reason == "client-at-backend":
        return f"{told}: a client is calling the backend, where workers connect; clients call the frontend"
    if reason in FOREIGN:
        return f"{told}: {FOREIGN[reason]} is calling the {socket}; this server does not speak that protocol"
    return told
