"""The frontend leg: what clients send, and what they get."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from pirate.wire.words import (
    MAGIC,
    MAX_ENVELOPE,
    MAX_ENVELOPE_BYTES,
    MAX_JSON,
    MAX_SERVICE,
    Code,
    Frames,
    Malformed,
    Value,
    decodeObject,
    encode,
    shorten,
)

_NEVER = float("inf")
#: A header's JSON with one key, as our own clients write it.
_ONLY_TIMEOUT = re.compile(rb'\{"timeout_ms":(0|[1-9]\d{0,15})\}').fullmatch


class State(Enum):
    """Where a request is."""

    NEW = "new"
    QUEUED = "queued"
    IN_FLIGHT = "held"
    DONE = "done"


class Request:
    """
    A plain client's request, and the broker's notes on it.

    :ivar route: what stands in front of the body both ways: routing id, envelope, empty delimiter.
    :ivar body: the request's frames, one or more.
    :ivar service: the name of the service that is asked for; empty for the unnamed one.
    :ivar peer: the client's address, where known.
    :ivar user: who the client is, where known.
    :ivar account: what is counted of the client that sent it; ``None`` if nothing is.
    :ivar id: the broker's name for it, 8 bytes; empty until it is accepted.
    :ivar attempts: how many workers have died while executing it.
    :ivar suspected: how many deaths of workers it may be charged with, if it turns out to be the one.
    :ivar alone: true if it must not share a worker's hand: it may have killed one, or may be tried only once.
    :ivar holders: the identities of the workers that have died with it in hand.
    :ivar holder: the identity of the worker that holds it, or held it last.
    :ivar share: what is counted of the requests of the same client that wait, once it has waited.
    :ivar state: where it is: new, queued, held by a worker, or done, which is answered or given up.
    :ivar waitingBytes: the bytes of all that is kept of it, once it has waited.
    :ivar since: when it began to wait, on the broker's clock.
    :ivar deadline: when it is not worth starting any more, on the broker's clock.
    :ivar parts: the parts of its answer so far, each one or more frames; ``None`` before the first.
    :ivar partBytes: the bytes of all of them.
    """

    __slots__ = (
        "account",
        "alone",
        "attempts",
        "body",
        "deadline",
        "holder",
        "holders",
        "id",
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
        self.account: Any = None
        self.share: Any = None
        self.waitingBytes = 0
        self.id = b""
        self.attempts = 0
        self.suspected = 0
        self.alone = False
        self.holders: tuple[bytes, ...] = ()
        self.holder = b""
        self.state = State.NEW
        self.since = 0.0
        self.deadline = _NEVER
        self.parts: list[Frames] | None = None
        self.partBytes = 0

    #: The client's name for the request; empty if it has none.
    key = b""
    #: The attempts that the client allows; 0 when it leaves that to the broker.
    maxAttempts = 0
    #: Seconds of the caller's budget; ``None`` when it leaves that to the broker.
    timeout: float | None = None
    #: Whether the client takes partial replies.
    partial = False
    #: A W3C traceparent, or empty.
    trace = ""

    def size(self) -> int:
        """The bytes of its body."""
        return sum(map(len, self.body))

    def weight(self) -> int:
        """The bytes of all that is kept of it: of its envelope, too."""
        return sum(map(len, self.body)) + sum(map(len, self.route))

    def reply(self, body: Frames) -> list[bytes]:
        """
        The frames that carry the app's answer to the client.

        :param body: the answer, one or more frames.
        """
        return [*self.route, *body]

    def part(self, body: Frames) -> list[bytes]:
        """
        The frames that carry one part of the answer to a client that takes parts.

        :param body: one or more.
        """
        return self.reply(body)

    def error(self, code: Code, message: str, tellPlain: bool) -> list[bytes] | None:
        """
        The frames that tell the client why there is no answer.

        :param tellPlain: whether a client that cannot tell an error from an answer is to be told all the same, by one
            JSON object as the only body frame.
        :return: the frames, or ``None`` if this client has no channel for errors.
        """
        if not tellPlain:
            return None
        told = {"pirate": "error", "code": code, "message": shorten(message), "attempts": self.attempts}
        return [*self.route, encode(told)]


class NativeRequest(Request):
    """
    A request with a native header: its client can be told of errors.

    :ivar key: the client's name for the request, 16 bytes.
    :ivar timeout: what is left of the caller's budget in seconds, or ``None``.
    :ivar maxAttempts: the attempts that the client allows; 0 when it leaves that to the broker.
    :ivar partial: whether the client takes partial replies.
    :ivar trace: a W3C traceparent, or empty.
    :ivar command: ``request``, ``cancel`` or ``ping``.
    :ivar joined: the same request, sent again while this one was waiting or running.
    """

    __slots__ = ("command", "joined", "key", "maxAttempts", "partial", "timeout", "trace")

    def __init__(self, route: list[bytes], body: list[bytes], key: bytes, options: dict[str, Any]) -> None:
        super().__init__(route, body, options.get("service", ""))
        self.key = key
        self.command: str = options.get("command", "request")
        timeout = options.get("timeout_ms")
        self.timeout: float | None = None if timeout is None else timeout / 1000
        self.maxAttempts = options.get("attempts", 0)
        self.partial: bool = options.get("partial", False)
        self.trace: str = options.get("trace", "")
        self.joined: list[NativeRequest] = []

    def reply(self, body: Frames) -> list[bytes]:
        return [*self.route[:-2], MAGIC + self.key, b"", *body]

    def part(self, body: Frames) -> list[bytes]:
        return [*self.route[:-2], header(self.key, {"status": "partial"}), b"", *body]

    def error(self, code: Code, message: str, tellPlain: bool = True) -> list[bytes]:
        told = {"status": "error", "code": code, "message": shorten(message), "attempts": self.attempts}
        return [*self.route[:-2], header(self.key, told), b"", b""]

    def pingReply(self, facts: dict[str, Any]) -> list[bytes]:
        """
        The frames that answer a ping.

        :param facts: the keys of its header.
        """
        return [*self.route[:-2], header(self.key, facts), b"", b""]


def parseRequest(frames: list[bytes]) -> Request | Malformed | None:
    """
    What a client sent: ``[routing id] envelope... [''] body...``.

    :param frames: as a ROUTER gives them.
    :return: ``None`` for ``[routing id] ['']`` alone, which is a PROBE_ROUTER greeting.
    """
    at = 1
    count = len(frames)
    left = MAX_ENVELOPE_BYTES
    while at < count and (size := len(frames[at])):
        at += 1
        left -= size
        if at > MAX_ENVELOPE + 1 or left < 0:
            return Malformed("envelope-too-long")
    if at >= count:
        return Malformed("no-delimiter")
    if at + 1 == count:
        return None if count == 2 else Malformed("empty-body")
    route, body = frames[: at + 1], frames[at + 1 :]
    last = frames[at - 1]
    if at > 1 and type(last) is not bytes:
        # A large frame: only if it may be a header is it worth a copy.
        isHeader = bytes(memoryview(last)[: len(MAGIC)]) == MAGIC
        if isHeader and len(last) > MAX_JSON + 20:
            return Malformed("bad-header")
        last = bytes(last) if isHeader else b""
    if at > 1 and last.startswith(MAGIC) and len(last) > len(MAGIC):
        return _nativeRequest(route, body, last)
    return Request(route, body)


#: What each key of a native header must be.
_HEADER_KEYS: dict[str, Any] = {
    "command": lambda value: value in ("request", "cancel", "ping"),
    "service": lambda value: isinstance(value, str) and len(value) <= MAX_SERVICE,
    "timeout_ms": lambda value: type(value) in (int, float) and 0 <= value <= 1e12,
    "attempts": lambda value: type(value) is int and 1 <= value <= 1000,
    "partial": lambda value: isinstance(value, bool),
    "trace": lambda value: isinstance(value, str) and len(value) <= 512,
}


def _nativeRequest(route: list[bytes], body: list[bytes], frame: bytes) -> NativeRequest | Malformed:
    parsed = parseHeader(frame)
    if parsed is None:
        key = frame[4:20]
        return Malformed("bad-header", _refusal(route, body, key) if len(key) == 16 else None)
    key, options = parsed
    for name, value in options.items():
        check = _HEADER_KEYS.get(name)
        if check is not None and not check(value):
            return Malformed("bad-header", _refusal(route, body, key))
    return NativeRequest(route, body, key, options)


def _refusal(route: list[bytes], body: list[bytes], key: bytes) -> list[bytes]:
    return NativeRequest(route, body, key, {}).error(Code.MALFORMED, "the header is not understood")


def header(key: bytes, options: dict[str, Any]) -> bytes:
    """
    A native header frame.

    :param key: the request's id, 16 bytes.
    :param options: the JSON keys; none of them: the frame ends after the id.
    """
    return MAGIC + key + (encode(options) if options else b"")


def parseHeader(frame: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """
    The id and the JSON keys of a native header frame.

    :return: ``None`` if the frame begins like one but is not understood.
    """
    if len(frame) < 20:
        return None
    # What most requests say, at a fraction of the cost.
    only = _ONLY_TIMEOUT(frame, 20)
    if only is not None:
        return frame[4:20], {"timeout_ms": int(only[1])}
    options = decodeObject(frame[20:]) if len(frame) > 20 else {}
    return None if options is None else (frame[4:20], options)


class ServerReply(Value):
    """
    What a server sent back.

    :ivar key: the id of the request that it answers, 16 bytes; empty on a plain connection.
    :ivar options: the header's JSON keys.
    :ivar body: the reply, one or more frames.
    """

    __slots__ = ("body", "key", "options")

    def __init__(self, key: bytes, options: dict[str, Any], body: Frames) -> None:
        self.key = key
        self.options = options
        self.body = body


def parseServerReply(frames: Frames) -> ServerReply | None:
    """
    What a DEALER got: ``[header] [''] body...``.

    :return: ``None`` for anything else.
    """
    if len(frames) < 3 or frames[1] or not frames[0].startswith(MAGIC):
        return None
    parsed = parseHeader(frames[0])
    return None if parsed is None else ServerReply(*parsed, frames[2:])
