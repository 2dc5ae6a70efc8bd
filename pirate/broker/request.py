"""A client's request: what it asks for, its state, and the frames of its reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pirate.wire.frontend import SmallReply, errorFrames, header, parseRequest, plainErrorFrames
from pirate.wire.words import MAGIC, MAX_BATCHED_BYTES, Code, Frames, Malformed

if TYPE_CHECKING:
    from pirate.broker.queues import ClientUsage
    from pirate.broker.quota import Account

#: A time that never comes.
NEVER = float("inf")


class State(Enum):
    """The state of a request."""

    NEW = "new"
    QUEUED = "queued"
    IN_FLIGHT = "in flight"
    DONE = "done"


class Request:
    """
    A plain client's request, and the broker's notes on it.

    The methods that return frames belong to the client's dialect: another dialect is another subclass.

    :ivar route: the frames in front of the body in both directions: routing id, envelope, empty delimiter.
    :ivar body: the request's frames, one or more.
    :ivar service: the name of the service that it asks for; empty for the unnamed one.
    :ivar peer: the client's address, where known.
    :ivar user: who the client is, where known.
    :ivar account: the client's account, if there is a quota.
    :ivar brokerId: the broker's id for it, 8 bytes; empty until it is accepted.
    :ivar deaths: how many workers have died while executing it.
    :ivar maxAttempts: the attempts that the client allows; 0 when it leaves that to the broker.
    :ivar joined: the same request, each time that it was sent again while this one was waiting or in flight.
    :ivar suspected: how many more deaths it is charged with if it takes another worker down.
    :ivar alone: whether it must be its worker's only request: it may have killed one, or may be tried only once.
    :ivar holders: the identities of the workers that have been lost while they held it.
    :ivar holder: the identity of the worker that holds it, or held it last.
    :ivar share: what its client has waiting, once this request has waited.
    :ivar state: its state; a request that is done has been replied to or given up.
    :ivar waitingBytes: the bytes of all that is kept of it, once it has waited.
    :ivar since: when it was queued; after sending to a concurrent worker, when it was sent; on the broker's clock.
    :ivar deadline: when it is not worth starting any more, on the broker's clock.
    :ivar parts: the parts of its reply so far, each one or more frames; ``None`` before the first.
    :ivar partBytes: the bytes of all of them.
    """

    __slots__ = (
        "account",
        "alone",
        "body",
        "brokerId",
        "deadline",
        "deaths",
        "holder",
        "holders",
        "joined",
        "maxAttempts",
        "partBytes",
        "parts",
        "peer",
        "route",
        "service",
        "share",
        "since",
        "state",
        "suspected",
        "user",
        "waitingBytes",
    )

    def __init__(self, route: list[bytes], body: list[bytes], service: str = "", peer: str | None = None) -> None:
        self.route = route
        self.body = body
        self.service = service
        self.peer = peer
        self.user: str | None = None
        self.account: Account | None = None
        self.share: ClientUsage | None = None
        self.waitingBytes = 0
        self.brokerId = b""
        self.deaths = 0
        self.maxAttempts = 0
        self.joined: tuple[Request, ...] = ()
        self.suspected = 0
        self.alone = False
        self.holders: tuple[bytes, ...] = ()
        self.holder = b""
        self.state = State.NEW
        self.since = 0.0
        self.deadline = NEVER
        self.parts: list[Frames] | None = None
        self.partBytes = 0

    #: What the client asks for: ``request``, ``cancel`` or ``ping``.
    command = "request"
    #: Whether the client understands errors, so that it is always sent them.
    toldErrors = False
    #: The client's id for the request; empty if it has none.
    requestId = b""
    #: Seconds of the caller's budget; ``None`` when it leaves that to the broker.
    timeout: float | None = None
    #: Whether the client takes partial replies.
    partial = False
    #: A W3C traceparent, or empty.
    trace = ""

    def size(self) -> int:
        """Return the bytes of the body."""
        return sum(map(len, self.body))

    def weight(self) -> int:
        """Return the bytes of all that is kept of the request: of its body and its route."""
        return sum(map(len, self.body)) + sum(map(len, self.route))

    def context(self, now: float) -> dict[str, Any]:
        """
        Return what an app may know of the request besides its body.

        These are ``client`` (an address), ``user`` (if it is known who that is), ``service``, ``attempt`` (1, and 1
        more for each lost worker that may have been executing it), ``remaining_ms`` (what is left of the caller's
        budget, if it has one) and ``trace`` (a W3C traceparent, if there is one).

        :param now: the time, on the clock of the deadline.
        """
        context = {"client": self.peer, "service": self.service, "attempt": self.deaths + self.suspected + 1}
        if self.deadline != NEVER:
            context["remaining_ms"] = max(int((self.deadline - now) * 1000), 0)
        if self.user is not None:
            context["user"] = self.user
        if self.trace:
            context["trace"] = self.trace
        return context

    def reply(self, body: Frames) -> list[bytes]:
        """
        Return the frames that carry the app's reply to the client.

        :param body: the reply, one or more frames.
        """
        return [*self.route, *body]

    def part(self, body: Frames) -> list[bytes]:
        """
        Return the frames that carry one part of the reply to a client that takes parts.

        :param body: one or more.
        """
        return self.reply(body)

    def error(self, code: Code, message: str, errorReply: bool) -> list[bytes] | None:
        """
        Return the frames that tell the client why there is no reply.

        :param errorReply: whether to send an error even to a client that cannot tell it from a reply: one JSON object
            as the only body frame.
        :return: ``None`` if the client is not sent errors.
        """
        return plainErrorFrames(self.route, code, message, self.deaths) if errorReply else None

    def pingReply(self, facts: dict[str, Any]) -> list[bytes]:
        """
        Return the frames of the reply to a ping; here only an empty one, for a dialect that has no place for facts.

        :param facts: what the server tells of itself.
        """
        return self.reply([b""])


class NativeRequest(Request):
    """
    A request with a native header: its client understands errors.

    :ivar requestId: the client's id for the request, 16 bytes.
    :ivar timeout: what is left of the caller's budget in seconds, or ``None``.
    :ivar partial: whether the client takes partial replies.
    :ivar trace: a W3C traceparent, or empty.
    :ivar command: ``request``, ``cancel`` or ``ping``.
    """

    __slots__ = ("command", "partial", "requestId", "timeout", "trace")

    toldErrors = True

    def __init__(self, route: list[bytes], body: list[bytes], requestId: bytes, options: Mapping[str, Any]) -> None:
        super().__init__(route, body, options.get("service", ""))
        self.requestId = requestId
        self.command: str = options.get("command", "request")
        timeout = options.get("timeout_ms")
        self.timeout: float | None = None if timeout is None else timeout / 1000
        self.maxAttempts = options.get("attempts", 0)
        self.partial: bool = options.get("partial", False)
        self.trace: str = options.get("trace", "")

    def reply(self, body: Frames) -> list[bytes]:
        return [*self.route[:-2], MAGIC + self.requestId, b"", *body]

    def part(self, body: Frames) -> list[bytes]:
        return [*self.route[:-2], header(self.requestId, {"status": "partial"}), b"", *body]

    def error(self, code: Code, message: str, errorReply: bool = True) -> list[bytes]:
        return errorFrames(self.route, self.requestId, code, message, self.deaths)

    def pingReply(self, facts: dict[str, Any]) -> list[bytes]:
        return [*self.route[:-2], header(self.requestId, facts), b"", b""]


class BatchedRequest(NativeRequest):
    """
    A native request that came in a batch, so its client understands several replies in one message.

    :param timeoutMs: what is left of the caller's budget, in milliseconds.
    """

    __slots__ = ()

    def __init__(self, route: list[bytes], body: list[bytes], requestId: bytes, service: str, timeoutMs: int) -> None:
        Request.__init__(self, route, body, service)
        self.requestId = requestId
        self.command = "request"
        self.timeout = timeoutMs / 1000
        self.partial = False
        self.trace = ""

    def reply(self, body: Frames) -> list[bytes]:
        frames = [self.route[0], MAGIC + self.requestId, b"", *body]
        return SmallReply(frames) if len(frames) == 4 and len(frames[3]) <= MAX_BATCHED_BYTES else frames


def readRequest(frames: list[bytes]) -> Request | Malformed | None:
    """
    Parse what a client sent, and make a request of it.

    :param frames: as a ROUTER gives them.
    :return: ``None`` for a PROBE_ROUTER greeting.
    """
    message = parseRequest(frames)
    if not isinstance(message, tuple):
        return message
    route, body, requestId, options = message
    return NativeRequest(route, body, requestId, options) if requestId else Request(route, body)


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """
    What is known of a request before it is accepted.

    :ivar client: the client's address, or ``None`` where it is not known; on a UNIX socket
        ``localhost:uid:gid:pid`` where ZeroMQ tells.
    :ivar user: who the client is, by its key; ``None`` without CURVE.
    :ivar service: the name that is asked for; empty for the unnamed service.
    :ivar size: the bytes of its body.
    """

    client: str | None
    user: str | None
    service: str
    size: int
