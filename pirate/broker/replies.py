"""The end of a request: what its client is told, and what is remembered of it."""

from __future__ import annotations

from pirate.broker.counters import Counters
from pirate.broker.interfaces import BrokerEvents, Outgoing
from pirate.broker.replycache import Outcome, ReplyCache
from pirate.broker.request import NativeRequest, Request
from pirate.wire.words import Code, Frames

#: The bytes of the parts of one answer that are kept.
PARTS_LIMIT = 1 << 26
#: How many clients may wait for one request that was sent again.
MAX_JOINED = 16
#: Outcomes after which the same request may well be sent again, and then succeed.
FORGOTTEN = frozenset({Code.BUSY, Code.STOPPING, Code.EXPIRED, Code.UNKNOWN_SERVICE, Code.CANCELLED})


class Replies:
    """
    Tells clients how their requests ended.

    :param outgoing: sends messages to clients.
    :param events: is told of requests that fail and of replies that are not delivered.
    :param tellPlain: whether clients without a native header are told of errors.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        events: BrokerEvents,
        counters: Counters,
        memory: ReplyCache,
        tellPlain: bool,
    ) -> None:
        self._outgoing = outgoing
        self._events = events
        self._counters = counters
        self._cache = memory
        self._tellPlain = tellPlain
        self._open: dict[bytes, NativeRequest] = {}

    def opened(self, request: NativeRequest) -> None:
        """A native request has been accepted."""
        self._open[request.key] = request

    def withdrawn(self, request: NativeRequest) -> None:
        """A native request is given up, and nobody is there to be told."""
        if self._open.get(request.key) is request:
            del self._open[request.key]

    def find(self, key: bytes) -> NativeRequest | None:
        """The open request that a client calls so."""
        return self._open.get(key)

    def join(self, request: NativeRequest) -> bool:
        """
        If a request is one that is open already, let it share that one's answer.

        :return: whether it is.
        """
        first = self._open.get(request.key)
        if first is None:
            return False
        if len(first.joined) >= MAX_JOINED:
            first.joined.pop(0)
        first.joined.append(request)
        # The first one's is what is worked on; this one's would be kept uncounted.
        request.body = []
        if request.partial:
            for part in first.parts or ():
                self._send(request.part(part))
        return True

    def repeat(self, request: NativeRequest, now: float) -> bool:
        """
        If the answer to a request is remembered, give it again.

        :return: whether it is.
        """
        outcome = self._cache.recall(request.key, now)
        if outcome is not None:
            self._tell(request, outcome)
        return outcome is not None

    def remembers(self, request: NativeRequest, now: float) -> bool:
        """Whether the answer to a request is remembered."""
        return self._cache.recall(request.key, now) is not None

    def replied(self, request: Request, body: Frames, now: float) -> None:
        """The app has answered."""
        self._counters.replied += 1
        if not request.key and not request.parts:
            self._outgoing.postToClient(request.reply(body))
        else:
            self._close(request, Outcome(body, parts=request.parts or (), attempts=request.attempts), now)

    def gaveUp(self, request: Request, code: Code, message: str, now: float) -> None:
        """There will be no answer."""
        self._counters.failed[code] = self._counters.failed.get(code, 0) + 1
        self._events.requestFailed(request, code, message)
        self._close(request, Outcome(None, code, message, request.parts or (), request.attempts), now)

    def parted(self, request: Request, body: Frames) -> str:
        """
        The app has answered in part.

        :return: why there is no sense in going on; empty if there is.
        """
        request.partBytes += sum(map(len, body))
        if request.parts is None:
            request.parts = []
        if request.partBytes <= PARTS_LIMIT:
            request.parts.append(body)
        elif not request.partial:
            return f"its parts are more than {PARTS_LIMIT} bytes, and its client takes them only together"
        elif self._open.get(request.key) is request:
            # Too much to keep for one that asks again: it would be answered without the first parts.
            del self._open[request.key]
        takers = [each for each in (request, *_joined(request)) if each.partial]
        taken = [self._send(each.part(body)) for each in takers]
        return "" if not taken or any(taken) else "its client does not take the parts"

    def hasSentParts(self, request: Request) -> bool:
        """Whether somebody has had parts of the answer, which must not be sent again."""
        return any(each.partial for each in (request, *_joined(request)))

    def refuse(self, request: NativeRequest, code: Code, message: str) -> None:
        """Tell a client something that ends no request."""
        self._outgoing.postToClient(request.error(code, message, False))

    def _close(self, request: Request, outcome: Outcome, now: float) -> None:
        self._tell(request, outcome, fresh=True)
        for each in _joined(request):
            self._tell(each, outcome, fresh=True)
        if request.key and self._open.get(request.key) is request:
            del self._open[request.key]
            if outcome.code not in FORGOTTEN:
                self._cache.remember(request.key, outcome, now)

    def _tell(self, request: Request, outcome: Outcome, fresh: bool = False) -> None:
        """
        Send an outcome to a client.

        :param fresh: whether it has had the parts already, if it takes parts.
        """
        if outcome.code is not None:
            request.attempts = outcome.attempts
            told = request.error(outcome.code, outcome.message, self._tellPlain)
            if told is not None:
                self._outgoing.postToClient(told)
        elif request.partial:
            for part in () if fresh else outcome.parts:
                self._outgoing.postToClient(request.part(part))
            self._outgoing.postToClient(request.reply(outcome.body or (b"",)))
        else:
            self._outgoing.postToClient(request.reply(outcome.whole()))

    def _send(self, frames: list[bytes]) -> bool:
        if self._outgoing.toClient(frames):
            return True
        self.countUndelivered()
        return False

    def countUndelivered(self) -> None:
        """A client was not there, or did not take what it was sent."""
        self._counters.undeliverable += 1
        self._events.replyUndelivered()


def _joined(request: Request) -> list[NativeRequest]:
    return request.joined if isinstance(request, NativeRequest) else []
