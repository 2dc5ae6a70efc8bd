"""The end of a request: send its client the outcome, and remember it."""

from __future__ import annotations

from pirate.broker.counters import Counters
from pirate.broker.interfaces import BrokerEvents, Outgoing
from pirate.broker.replycache import Outcome, ReplyCache
from pirate.broker.request import Request
from pirate.wire.words import Code, Frames

#: The bytes of the parts of one reply that are kept.
PARTS_LIMIT = 1 << 26
#: Requests that may share the reply of one with the same request id, at most.
MAX_JOINED = 16
#: The codes of failures that are not remembered: if the request is sent again, it may succeed.
NOT_REMEMBERED = frozenset({Code.BUSY, Code.STOPPING, Code.EXPIRED, Code.UNKNOWN_SERVICE, Code.CANCELLED})


class Replies:
    """
    Sends clients the outcomes of their requests.

    :param outgoing: sends messages to clients.
    :param events: is told of requests that fail and of replies that are not delivered.
    :param cache: remembers outcomes.
    :param errorReply: whether clients that do not understand errors are sent them.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        events: BrokerEvents,
        counters: Counters,
        cache: ReplyCache,
        errorReply: bool,
    ) -> None:
        self._outgoing = outgoing
        self._events = events
        self._counters = counters
        self._cache = cache
        self._errorReply = errorReply
        self._open: dict[bytes, Request] = {}

    def opened(self, request: Request) -> None:
        """Note a request with a request id that has been accepted."""
        self._open[request.requestId] = request

    def withdrawn(self, request: Request, now: float) -> None:
        """Forget a request with a request id whose client has gone, but not the attempts that it has used."""
        if self._open.get(request.requestId) is request:
            del self._open[request.requestId]
            self._rememberAttempts(request, now)

    def find(self, requestId: bytes) -> Request | None:
        """Return the open request with this request id; ``None`` if there is none."""
        return self._open.get(requestId)

    def isNew(self, requestId: bytes, now: float) -> bool:
        """Return whether there is no open request with a request id, and no outcome of one is remembered."""
        return requestId not in self._open and self._cache.recall(requestId, now) is None

    def join(self, request: Request) -> bool:
        """
        Let a request share the reply of an open one with the same request id.

        :return: ``False`` if there is none.
        """
        first = self._open.get(request.requestId)
        if first is None:
            return False
        first.joined = (*first.joined, request)[-MAX_JOINED:]
        # The worker has the first one's body; this one's would be kept without being counted.
        request.body = []
        if request.partial:
            for part in first.parts or ():
                self._send(request.part(part))
        return True

    def repeat(self, request: Request, now: float) -> bool:
        """
        Send the outcome of a request with the same request id again.

        If that one had used attempts, but ended without an outcome that lasts, this request continues it.

        :return: ``False`` if no outcome is remembered.
        """
        outcome = self._cache.recall(request.requestId, now)
        if outcome is None:
            return False
        if outcome.isUnfinished():
            request.deaths, request.suspected = outcome.deaths, outcome.suspected
            self._cache.forget(request.requestId)
            return False
        self._sendOutcome(request, outcome)
        return True

    def remembers(self, request: Request, now: float) -> bool:
        """Return whether the outcome of a request with the same request id is remembered."""
        outcome = self._cache.recall(request.requestId, now)
        return outcome is not None and not outcome.isUnfinished()

    def replied(self, request: Request, body: Frames, now: float) -> None:
        """Send the app's reply, and remember it."""
        self._counters.replied += 1
        if not request.requestId and not request.parts:
            self._outgoing.postToClient(request.reply(body))
        else:
            self._end(request, Outcome(body, parts=request.parts or (), deaths=request.deaths), now)

    def failed(self, request: Request, code: Code, message: str, now: float) -> None:
        """Send the error of a request that has been given up, and remember it."""
        self._counters.failed[code] = self._counters.failed.get(code, 0) + 1
        self._events.requestFailed(request, code, message)
        self._end(request, Outcome(None, code, message, request.parts or (), request.deaths), now)

    def partReplied(self, request: Request, body: Frames) -> str:
        """
        Send a part of the app's reply, and keep it until the last.

        :return: why the request should be given up; empty if it should not.
        """
        request.partBytes += sum(map(len, body))
        if request.parts is None:
            request.parts = []
        if request.partBytes <= PARTS_LIMIT:
            request.parts.append(body)
        elif not request.partial:
            return f"its parts are more than {PARTS_LIMIT} bytes, and its client takes them only together"
        elif self._open.get(request.requestId) is request:
            # It is too much to keep, so a request with the same request id could not get the first parts.
            del self._open[request.requestId]
        takers = [each for each in (request, *request.joined) if each.partial]
        taken = [self._send(each.part(body)) for each in takers]
        return "" if not taken or any(taken) else "its client does not read the parts"

    def hasSentParts(self, request: Request) -> bool:
        """Return whether a client has been sent parts of the reply, so that they must not be sent again."""
        return any(each.partial for each in (request, *request.joined))

    def sendError(self, request: Request, code: Code, message: str) -> None:
        """Send an error that ends no request."""
        error = request.error(code, message, self._errorReply)
        if error is not None:
            self._outgoing.postToClient(error)

    def _end(self, request: Request, outcome: Outcome, now: float) -> None:
        self._sendOutcome(request, outcome, partsSent=True)
        for each in request.joined:
            self._sendOutcome(each, outcome, partsSent=True)
        if request.requestId and self._open.get(request.requestId) is request:
            del self._open[request.requestId]
            if outcome.code not in NOT_REMEMBERED:
                self._cache.remember(request.requestId, outcome, now)
            else:
                self._rememberAttempts(request, now)

    def _rememberAttempts(self, request: Request, now: float) -> None:
        if request.deaths or request.suspected:
            used = Outcome(None, deaths=request.deaths, suspected=request.suspected)
            self._cache.remember(request.requestId, used, now)

    def _sendOutcome(self, request: Request, outcome: Outcome, partsSent: bool = False) -> None:
        """
        Send a client an outcome.

        :param partsSent: whether a client that takes parts has been sent them already.
        """
        if outcome.code is not None:
            request.deaths = outcome.deaths
            error = request.error(outcome.code, outcome.message, self._errorReply)
            if error is not None:
                self._outgoing.postToClient(error)
        elif request.partial:
            for part in () if partsSent else outcome.parts:
                self._outgoing.postToClient(request.part(part))
            self._outgoing.postToClient(request.reply(outcome.body or (b"",)))
        else:
            body = outcome.whole() if outcome.parts or not outcome.body else outcome.body
            self._outgoing.postToClient(request.reply(body))

    def _send(self, frames: list[bytes]) -> bool:
        if self._outgoing.toClient(frames):
            return True
        self.replyUndelivered()
        return False

    def replyUndelivered(self) -> None:
        """Count a message whose client is gone, or does not read."""
        self._counters.undeliverable += 1
        self._events.replyUndelivered()
