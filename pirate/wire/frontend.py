"""The messages on the frontend: what clients send, and what they are sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from pirate.wire.words import (
    MAGIC,
    MAX_BATCH,
    MAX_BATCHED_BYTES,
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

#: Matches the JSON of a header that has only a timeout, as our own clients write it.
_ONLY_TIMEOUT = re.compile(rb'\{"timeout_ms":(0|[1-9]\d{0,15})\}').fullmatch

#: What a client sent: its route, its body, and from a native header the request id and the options; a plain request has
#: neither.  A plain tuple, because nothing costs less to build and to take apart, and every request is one.
ClientMessage = tuple[list[bytes], list[bytes], bytes, Mapping[str, Any]]

#: The header of a message with several replies; the ids are in its body.
REPLY_BATCH_HEADER = MAGIC + bytes(16) + b'{"status":"batch"}'
#: The most bytes of the body of a batch: a count, and for each request an id, a timeout, a size and its body.
MAX_BATCH_BYTES = 1 + MAX_BATCH * (16 + 4 + 2 + MAX_BATCHED_BYTES)
#: The longest timeout in a batch, in milliseconds.
MAX_BATCHED_TIMEOUT = (1 << 32) - 1
#: The timeouts and sizes of a number of requests, and the sizes of a number of replies.
_REQUEST_NUMBERS = [Struct(f">{count}I{count}H") for count in range(MAX_BATCH + 1)]
_REPLY_NUMBERS = [Struct(f">{count}H") for count in range(MAX_BATCH + 1)]

#: The options of a request without a native header.
_NO_OPTIONS: Mapping[str, Any] = {}


def parseRequest(frames: list[bytes]) -> ClientMessage | Malformed | None:
    """
    Parse what a client sent: ``[routing id] envelope... [''] body...``.

    :param frames: as a ROUTER gives them.
    :return: the route, which is all frames up to and with the delimiter; the body; the request id and the options of a
        native header, of which those that are known have been checked.  ``None`` for ``[routing id] ['']`` alone, which
        is a PROBE_ROUTER greeting.
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
        # Copy a large frame only if it may be a header.
        isHeader = bytes(memoryview(last)[: len(MAGIC)]) == MAGIC
        if isHeader and len(last) > MAX_JSON + 20:
            return Malformed("bad-header")
        last = bytes(last) if isHeader else b""
    if at > 1 and last.startswith(MAGIC) and len(last) > len(MAGIC):
        return _parseNative(route, body, last)
    return route, body, b"", _NO_OPTIONS


#: The check of each known key of a native header.
_HEADER_KEYS: dict[str, Any] = {
    "command": lambda value: value in ("request", "cancel", "ping", "batch"),
    "service": lambda value: isinstance(value, str) and len(value) <= MAX_SERVICE,
    "timeout_ms": lambda value: type(value) in (int, float) and 0 <= value <= 1e12,
    "attempts": lambda value: type(value) is int and 1 <= value <= 1000,
    "partial": lambda value: isinstance(value, bool),
    "trace": lambda value: isinstance(value, str) and len(value) <= 512,
}


def _parseNative(route: list[bytes], body: list[bytes], frame: bytes) -> ClientMessage | Malformed:
    parsed = parseHeader(frame)
    if parsed is None:
        requestId = frame[4:20]
        return Malformed("bad-header", _rejection(route, requestId) if len(requestId) == 16 else None)
    requestId, options = parsed
    for name, value in options.items():
        check = _HEADER_KEYS.get(name)
        if check is not None and not check(value):
            return Malformed("bad-header", _rejection(route, requestId))
    return route, body, requestId, options


def packRequests(requests: Sequence[tuple[bytes, int, bytes]]) -> bytes:
    """
    Return the body of a batch, which is one frame.

    :param requests: 1 to ``MAX_BATCH`` requests: the id of each, its timeout in milliseconds, at most
        ``MAX_BATCHED_TIMEOUT``, and its body, at most ``MAX_BATCHED_BYTES``.
    """
    ids, timeouts, bodies = zip(*requests, strict=True)
    count = len(ids)
    numbers = _REQUEST_NUMBERS[count].pack(*timeouts, *map(len, bodies))
    return b"".join((bytes((count,)), *ids, numbers, *bodies))


def parseRequests(body: Sequence[bytes]) -> list[tuple[bytes, int, bytes]] | None:
    """
    Parse the body of a batch.

    :param body: its frames.
    :return: the id, the timeout in milliseconds, and the body of each request; ``None`` if the batch is malformed.
    """
    if len(body) != 1 or not 0 < len(body[0]) <= MAX_BATCH_BYTES:
        return None
    # A large frame is no bytes object.
    frame = bytes(body[0])
    count = frame[0]
    end = 1 + 22 * count
    if not 0 < count <= MAX_BATCH or len(frame) < end:
        return None
    numbers = _REQUEST_NUMBERS[count].unpack_from(frame, 1 + 16 * count)
    bodies = _split(frame, end, numbers[count:])
    if bodies is None:
        return None
    return list(zip(_ids(frame, count), numbers[:count], bodies, strict=True))


def packReplies(replies: Sequence[tuple[bytes, bytes]]) -> bytes:
    """
    Return the body of a message with several replies, which is one frame.

    :param replies: 1 to ``MAX_BATCH`` replies: the request id of each, and its body, at most ``MAX_BATCHED_BYTES``.
    """
    ids, bodies = zip(*replies, strict=True)
    return b"".join((bytes((len(ids),)), *ids, _REPLY_NUMBERS[len(ids)].pack(*map(len, bodies)), *bodies))


def parseReplies(body: Sequence[bytes]) -> list[tuple[bytes, bytes]] | None:
    """
    Parse the body of a message with several replies.

    :param body: its frames.
    :return: the request id and the body of each reply; ``None`` if the message is malformed.
    """
    if len(body) != 1 or not 0 < len(body[0]) <= MAX_BATCH_BYTES:
        return None
    frame = bytes(body[0])
    count = frame[0]
    end = 1 + 18 * count
    if not 0 < count <= MAX_BATCH or len(frame) < end:
        return None
    bodies = _split(frame, end, _REPLY_NUMBERS[count].unpack_from(frame, 1 + 16 * count))
    return None if bodies is None else list(zip(_ids(frame, count), bodies, strict=True))


def _ids(frame: bytes, count: int) -> list[bytes]:
    return [frame[at : at + 16] for at in range(1, 1 + 16 * count, 16)]


def _split(frame: bytes, at: int, sizes: Sequence[int]) -> list[bytes] | None:
    """Cut the rest of a frame into bodies; return ``None`` if it is not exactly as long, or a body is too long."""
    if max(sizes) > MAX_BATCHED_BYTES or at + sum(sizes) != len(frame):
        return None
    bodies = []
    for size in sizes:
        bodies.append(frame[at : at + size])
        at += size
    return bodies


def _rejection(route: list[bytes], requestId: bytes) -> list[bytes]:
    return errorFrames(route, requestId, Code.MALFORMED, "the header is not understood", 0)


def errorFrames(route: list[bytes], requestId: bytes, code: Code, message: str, attempts: int) -> list[bytes]:
    """
    Return the frames that tell a native client why its request has no reply.

    :param route: the route of the request.
    :param requestId: the request id of its header.
    :param attempts: how many workers have died while executing it.
    """
    fields = {"status": "error", "code": code, "message": shorten(message), "attempts": attempts}
    return [*route[:-2], header(requestId, fields), b"", b""]


def plainErrorFrames(route: list[bytes], code: Code, message: str, attempts: int) -> list[bytes]:
    """
    Return the frames that tell a plain client why its request has no reply: one JSON object as the only body frame.

    The client cannot tell it from a reply.
    """
    fields = {"pirate": "error", "code": code, "message": shorten(message), "attempts": attempts}
    return [*route, encode(fields)]


def header(requestId: bytes, options: dict[str, Any]) -> bytes:
    """
    Return a native header frame.

    :param requestId: the client's id for the request, 16 bytes.
    :param options: the keys of the JSON object; if there are none, the frame ends after the request id.
    """
    return MAGIC + requestId + (encode(options) if options else b"")


def parseHeader(frame: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """
    Return the request id and the options of a native header frame.

    :return: ``None`` if the frame begins like a header, but is malformed.
    """
    if len(frame) < 20:
        return None
    # Most headers match this, which costs a fraction of parsing JSON.
    match = _ONLY_TIMEOUT(frame, 20)
    if match is not None:
        return frame[4:20], {"timeout_ms": int(match[1])}
    options = decodeObject(frame[20:]) if len(frame) > 20 else {}
    return None if options is None else (frame[4:20], options)


class SmallReply(list[bytes]):
    """
    The frames of a reply that may be sent together with others of its client, in one message.

    The frames are the client's routing id, the header, which ends with the request id, the delimiter, and one small
    frame.
    """

    __slots__ = ()


class ServerReply(Value):
    """
    A message that a server has sent to a client.

    :ivar requestId: the id of the request that it belongs to, 16 bytes; empty on a plain connection.
    :ivar options: the keys of the header's JSON object.
    :ivar body: the reply, one or more frames.
    """

    __slots__ = ("body", "options", "requestId")

    def __init__(self, requestId: bytes, options: dict[str, Any], body: Frames) -> None:
        self.requestId = requestId
        self.options = options
        self.body = body


def parseServerReply(frames: Frames) -> ServerReply | None:
    """
    Parse what a DEALER has received: ``[header] [''] body...``.

    :return: ``None`` for anything else.
    """
    if len(frames) < 3 or frames[1] or not frames[0].startswith(MAGIC):
        return None
    parsed = parseHeader(frames[0])
    return None if parsed is None else ServerReply(*parsed, frames[2:])
