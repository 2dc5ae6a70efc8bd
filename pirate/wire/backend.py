"""The messages on the backend: what workers are sent, their status and their replies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any

from pirate.wire.words import (
    ERROR,
    ID_SIZE,
    MAX_CONCURRENCY,
    MAX_CREDIT,
    MAX_PACKED,
    MAX_SERVICE,
    MAX_TEXT,
    MIN_FIRST_BYTE,
    PACK,
    PARTIAL,
    WORDS,
    Frames,
    Malformed,
    Value,
    decodeObject,
    encode,
)


class Status(Value):
    """
    A worker's status.

    :ivar word: one of ``WORDS``.
    :ivar info: what the worker added to the word, or ``None``.
    """

    __slots__ = ("info", "word", "worker")

    def __init__(self, worker: bytes, word: bytes, info: Announcement | None = None) -> None:
        self.worker = worker
        self.word = word
        self.info = info


class Announcement(Value):
    """
    The announcement of a worker, which it sends with its first ``waiting``.

    :ivar token: the secret that it was spawned with; empty if it has none.
    :ivar credit: how many requests it may hold: 1 to 64, or with a concurrency of more than 1, 1 to that.
    :ivar context: whether its app wants each request's context.
    :ivar services: the names that it serves.
    :ivar concurrency: how many requests it executes at the same time, 1 to 1000.
    :ivar pack: whether it reads requests that are packed, and may pack its replies.
    """

    __slots__ = ("concurrency", "context", "credit", "pack", "services", "token")

    def __init__(
        self,
        token: str = "",
        credit: int = 1,
        context: bool = False,
        services: tuple[str, ...] = ("",),
        concurrency: int = 1,
        pack: bool = False,
    ) -> None:
        self.token = token
        self.credit = credit
        self.context = context
        self.services = services
        self.concurrency = concurrency
        self.pack = pack


#: The app's reply: the worker's routing id, the broker's id of the request, and the body.  A plain tuple, because
#: nothing costs less to build and to take apart, and almost every message of a worker is one.
Reply = tuple[bytes, bytes, Frames]


class Part(Value):
    """
    One part of a reply; more will follow.

    :ivar request: the broker's id of the request.
    """

    __slots__ = ("body", "request", "worker")

    def __init__(self, worker: bytes, request: bytes, body: Frames) -> None:
        self.worker = worker
        self.request = request
        self.body = body


class ErrorReply(Value):
    """
    An error of the app, in place of a reply.

    :ivar request: the broker's id of the request.
    :ivar code: the error's code, as the worker sent it.
    :ivar text: the error's type and message, cut to little more than ``MAX_TEXT`` bytes.
    :ivar trail: the lines of the app that the error came from, cut likewise; empty if the worker did not tell.
    """

    __slots__ = ("code", "request", "text", "trail", "worker")

    def __init__(self, worker: bytes, request: bytes, code: bytes, text: bytes, trail: bytes = b"") -> None:
        self.worker = worker
        self.request = request
        self.code = code
        self.text = text
        self.trail = trail


class PackedReplies(Value):
    """
    Several replies in one message.

    :ivar requests: the broker's ids of the requests.
    :ivar bodies: their replies, of one frame each, in the same order.
    """

    __slots__ = ("bodies", "requests", "worker")

    def __init__(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        self.worker = worker
        self.requests = requests
        self.bodies = bodies


WorkerMessage = Status | Reply | PackedReplies | Part | ErrorReply


def parseWorkerMessage(frames: Frames) -> WorkerMessage | Malformed | None:
    """
    Parse what a worker sent.

    Its routing id is followed by a request's id and a body, or by the word ``pack`` and packed replies, or by a
    delimiter and a status of one or two frames, or by a delimiter and a reply of three or more frames.

    :param frames: as a ROUTER gives them.
    :return: ``None`` for ``[routing id] ['']`` alone, which is a PROBE_ROUTER greeting.
    """
    count = len(frames)
    if count < 2:
        return Malformed("no-delimiter")
    first = frames[1]
    if len(first):
        # ``_isId``, inlined, because this runs for every reply.
        if count > 2 and len(first) == ID_SIZE and first[:1] >= MIN_FIRST_BYTE:
            return frames[0], first, frames[2:]
        if first == PACK and count == 3:
            columns = unpack(frames[2])
            return Malformed("bad-pack") if columns is None else PackedReplies(frames[0], *columns)
        return Malformed("no-delimiter")
    if count > 4:
        kind = frames[3]
        if not len(kind):
            return frames[0], frames[2], frames[4:]
        if kind == PARTIAL:
            return Part(frames[0], frames[2], frames[4:])
        if kind == ERROR and count in (6, 7):
            code, text, *trail = (_cut(each) for each in frames[4:])
            return ErrorReply(frames[0], frames[2], code, text, *trail)
        return Malformed("unknown-reply")
    return None if count == 2 else _parseStatus(frames)


def _isId(frame: bytes) -> bool:
    """Return whether a frame has the form of a request's id."""
    return len(frame) == ID_SIZE and frame[:1] >= MIN_FIRST_BYTE


def _cut(frame: bytes) -> bytes:
    """Copy the part of a text that is used: its beginning."""
    return bytes(memoryview(frame)[: MAX_TEXT + 1])


def _parseStatus(frames: Frames) -> Status | Malformed:
    word = frames[2]
    if word not in WORDS:
        return Malformed("empty-body" if _isId(word) else "unknown-word")
    if len(frames) == 3:
        return Status(frames[0], word)
    fields = decodeObject(frames[3])
    info = None if fields is None else _parseAnnouncement(fields)
    return Malformed("bad-info") if info is None else Status(frames[0], word, info)


def _parseAnnouncement(fields: dict[str, Any]) -> Announcement | None:
    token, services = fields.get("token", ""), fields.get("services", [""])
    credit, concurrency = fields.get("credit", 1), fields.get("concurrency", 1)
    if not (isinstance(token, str) and isinstance(services, list)):
        return None
    if type(credit) is not int or type(concurrency) is not int:
        return None
    if not services or not all(isinstance(name, str) and len(name) <= MAX_SERVICE for name in services):
        return None
    concurrency = min(max(concurrency, 1), MAX_CONCURRENCY)
    credit = min(max(credit, 1), concurrency if concurrency > 1 else MAX_CREDIT)
    context, pack = bool(fields.get("context")), fields.get("pack") == 1
    return Announcement(token, credit, context, tuple(dict.fromkeys(services)), concurrency, pack)


def requestFrames(worker: bytes, request: bytes, body: Frames, context: dict[str, Any] | None = None) -> list[bytes]:
    """
    Return the frames of a request to a worker: ``[worker] [''] [id] [''] body...``.

    :param request: the broker's id of the request.
    :param context: what the app wants to know of the request besides its body, which is sent as a JSON frame between
        the id and the delimiter; ``None``: nothing.
    """
    if context is None:
        return [worker, b"", request, b"", *body]
    return [worker, b"", request, encode(context), b"", *body]


def announcementFrame(info: Announcement) -> bytes:
    """Return the second frame of a worker's first ``waiting``, the counterpart of :class:`Announcement`."""
    return encode(
        {
            "pirate": 1,
            "token": info.token,
            "credit": info.credit,
            "context": info.context,
            "services": list(info.services),
            "concurrency": info.concurrency,
            "pack": int(info.pack),
        }
    )


# --- several requests or replies in one message


def packedRequests(worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> list[bytes]:
    """
    Return the frames of requests to a worker: one of the usual form, or several packed.

    :param requests: the broker's ids of the requests, 1 to 64.
    :param bodies: their bodies, of one frame of at most ``PACKED_SIZE`` bytes each, in the same order.
    """
    if len(requests) == 1:
        return [worker, b"", requests[0], b"", bodies[0]]
    return [worker, b"", PACK, pack(requests, bodies)]


def idsOf(frames: Frames) -> Sequence[bytes]:
    """Return the broker's ids of the requests in a message to a worker; of another message, the word."""
    if frames[2] == PACK:
        columns = unpack(frames[3])
        return () if columns is None else columns[0]
    return (frames[2],)


def pack(requests: Sequence[bytes], bodies: Sequence[bytes]) -> bytes:
    """
    Pack small bodies into one frame: their number, the ids, the sizes and the bodies.

    :param requests: the broker's ids of the requests, 1 to 64.
    :param bodies: one frame of at most ``PACKED_SIZE`` bytes for each.
    """
    count = len(requests)
    return b"".join((_columns(count).pack(count, *requests, *map(len, bodies)), *bodies))


def unpack(frame: bytes) -> tuple[Sequence[bytes], list[bytes]] | None:
    """
    Return the ids and the bodies that :func:`pack` has put into a frame.

    :return: ``None`` if the number is not 1 to 64, or if the sizes do not add up exactly.
    """
    if not 0 < len(frame) <= _MAX_PACK:
        return None
    data = bytes(frame)
    count = data[0]
    if not 0 < count <= MAX_PACKED:
        return None
    columns = _columns(count)
    position = columns.size
    if len(data) < position:
        return None
    fields = columns.unpack_from(data)
    sizes = fields[count + 1 :]
    if position + sum(sizes) != len(data):
        return None
    bodies = []
    for size in sizes:
        end = position + size
        bodies.append(data[position:end])
        position = end
    return fields[1 : count + 1], bodies


@cache
def _columns(count: int) -> Struct:
    """Return the structure in front of so many bodies."""
    return Struct(f">B{f'{ID_SIZE}s' * count}{count}H")


#: The bytes of the largest packed message.
_MAX_PACK = 1 + MAX_PACKED * (ID_SIZE + 2 + 0xFFFF)
