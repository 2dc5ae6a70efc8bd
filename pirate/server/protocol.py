"""Between the wire and the broker: what each message means, and whether its sender may say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

import pirate
from pirate.broker.broker import Broker
from pirate.broker.gate import RequestFilter
from pirate.server.connections import WorkerConnections
from pirate.server.errorlog import ErrorLog
from pirate.server.logs import RateLimitedLog
from pirate.server.member import Rejection
from pirate.server.pending import Sender, Waiting
from pirate.server.supervisor import Supervisor
from pirate.wire.backend import Failure, Part, Reply, Status, parseWorkerMessage
from pirate.wire.foreign import FOREIGN, MAJORDOMO, recognize
from pirate.wire.frontend import NativeRequest, Request, State, parseRequest
from pirate.wire.words import EXITING, HEARTBEAT, WAITING, Code, Malformed, readText

#: What a client is told of a message that is more than may be.
TOO_MUCH = {
    "frame-too-large": "a frame of it is larger than max-message-size allows",
    "too-large": "there is more in it than max-message-total allows",
    "too-many-frames": "it has more frames than max-message-frames allows",
}
#: What a client is told that has connected to the workers' socket.
WRONG_SOCKET = "this is the backend: a client is calling the backend, where workers connect; call the frontend"
#: The codes of a worker's errors that are the app's own.
_OF_THE_APP = frozenset({Code.APP_ERROR, Code.TIMEOUT})


class BrokerProtocol:
    """
    Takes each message to the broker, once it has been understood.

    :param broker: who gets it.
    :param supervisor: who knows which workers are ours.
    :param toClient: sends frames to a client.
    :param toWorker: sends frames to a peer of the backend.
    :param workerSender: gives what is known of who sent the message from the backend that is being read.
    :param externalWorkers: whether workers that are not ours are admitted.
    :param condition: how the server is, for the answer to a ping.
    :param connections: is told which worker speaks on which.
    :param requestFilter: whether a client may ask what it asks; ``None``: it may.
    :ivar waiting: the clients whose requests wait.
    """

    def __init__(
        self,
        clock: IReactorTime,
        log: Logger,
        broker: Broker,
        supervisor: Supervisor,
        toClient: Callable[[list[bytes]], bool],
        toWorker: Callable[[list[bytes]], bool],
        workerSender: Callable[[], Sender],
        externalWorkers: bool,
        condition: Callable[[], dict[str, Any]],
        connections: WorkerConnections,
        requestFilter: RequestFilter | None = None,
    ) -> None:
        self._broker = broker
        self._supervisor = supervisor
        self._toClient = toClient
        self._toWorker = toWorker
        self._workerSender = workerSender
        self._externalWorkers = externalWorkers
        self._condition = condition
        self._connections = connections
        self._filter = requestFilter
        self.waiting = Waiting(broker.withdraw)
        self._errors = ErrorLog(clock, log)
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
        """Log what has been counted and not logged yet: there will be nothing more."""
        for each in (self._errors, self._atFrontend, self._atBackend, self._foreign):
            each.stop()

    def fromClient(self, frames: list[bytes], sender: Sender) -> None:
        """
        A message has come from the frontend.

        :param sender: what the transport knows of who sent it.
        """
        request = parseRequest(frames)
        if isinstance(request, Request):
            if request.route[0] in self.waiting.departed and self.waiting.hasDeparted(request.route[0], sender):
                self._broker.noteDeparted(request)
                return
            body = request.body
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
        elif request is not None:
            self._dropAtFrontend(recognize(frames) or request.reason, sender)
            if request.reply is not None:
                self._toClient(request.reply)

    def clientRevoked(self, frames: list[bytes]) -> None:
        """A message has come from a client whose key has been removed since it connected."""
        self._atFrontend.count("key-removed")
        request = parseRequest(frames)
        if isinstance(request, NativeRequest):
            self._toClient(request.error(Code.DENIED, "its key has been removed"))

    def clientGone(self, connection: int) -> None:
        """A client's connection has been closed."""
        self.waiting.gone(connection)
        if self._filter is not None:
            self._filter.gone(connection)

    def clientHungUp(self, connection: int) -> None:
        """A client has closed its connection, although what it has sent before has not all been read."""
        self.waiting.hungUp(connection)

    def clientRefused(self, frames: list[bytes], sender: Sender, reason: str) -> None:
        """
        A client's message is more than may be.

        :param frames: its beginning.
        :param reason: what is too much.
        """
        self._dropAtFrontend(reason, sender)
        request = parseRequest(frames)
        if isinstance(request, NativeRequest):
            self._toClient(request.error(Code.DENIED, TOO_MUCH[reason]))

    def workerRefused(self, frames: list[bytes], reason: str) -> None:
        """The same of a worker: if it is an answer, that has failed."""
        self._dropAtBackend(reason, self._workerSender())
        message = parseWorkerMessage(frames)
        if isinstance(message, (Reply, Part)):
            self._broker.failureReceived(
                message.worker, message.request, Code.APP_ERROR, f"the answer: {TOO_MUCH[reason]}"
            )

    def fromWorker(self, frames: list[bytes]) -> None:
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
            self._toClient(request.pingReply({"server": "pirate", "version": pirate.__version__, **self._condition()}))
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
        """A worker's word about itself: of one of ours, of one that is let in, or of one that is not."""
        rejection = self._supervisor.announced(status)
        if rejection is None:
            if status.info is not None:
                self._connections.announced(status.worker, own=True)
            return
        if rejection is not Rejection.STRANGER or not self._externalWorkers:
            self._dropAtBackend(rejection.value, self._workerSender())
        elif status.word == WAITING:
            self._connections.announced(status.worker, own=False)
            self._broker.workerReady(status.worker, status.info)
        elif status.word == EXITING:
            self._broker.workerGone(status.worker, "leaving", died=False)
        elif status.word == HEARTBEAT:
            self._broker.workerAlive(status.worker)

    # --- what means nothing

    def _notOfWorker(self, frames: list[bytes], reason: str) -> None:
        """Drop a message from the backend that no worker would send; a native client is told where it is."""
        sender = self._workerSender()
        foreign = recognize(frames)
        request = parseRequest(frames) if reason == "no-delimiter" else None
        if isinstance(request, NativeRequest):
            self._toWorker(request.error(Code.MALFORMED, WRONG_SOCKET))
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
