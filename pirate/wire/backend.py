"""The messages on the backend: what workers are sent, their status and their replies."""

from __future__ import annotations

from typing import Any

from pirate.wire.words import (
    ERROR,
    ID_SIZE,
    MAX_CONCURRENCY,
    MAX_CREDIT,
    MAX_SERVICE,
    MAX_TEXT,
    MIN_FIRST_BYTE,
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

    def __init__(self, worker: bytes, word: bytes, info: Info | None = None) -> None:
        self.worker = worker
        self.word = word
        self.info = info


class Info(Value):
    """
    The announcement of a worker, which it sends with its first ``waiting``.

    :ivar token: the secret that it was spawned with; empty if it has none.
    :ivar credit: how many requests it may hold: 1 to 64, or with a concurrency of more than 1, 1 to that.
    :ivar context: whether its app wants each request's context.
    :ivar services: the names that it serves.
    :ivar concurrency: how many requests it executes at the same time, 1 to 1000.
    """

    __slots__ = ("concurrency", "context", "credit", "services", "token")

    def __init__(
        self,
        token: str = "",
        credit: int = 1,
        context: bool = False,
        services: tuple[str, ...] = ("",),
        concurrency: int = 1,
    ) -> None:
        self.token = token
        self.credit = credit
        self.context = context
        self.services = services
        self.concurrency = concurrency


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


WorkerMessage = Status | Reply | Part | ErrorReply


def parseWorkerMessage(frames: Frames) -> WorkerMessage | Malformed | None:
    """
    Parse what a worker sent.

    Its routing id is followed by a request's id and a body, or by a delimiter and a status of one or two frames, or by
    a delimiter and a reply of three or more frames.

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
    info = None if fields is None else _parseInfo(fields)
    return Malformed("bad-info") if info is None else Status(frames[0], word, info)


def _parseInfo(fields: dict[str, Any]) -> Info | None:
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
    return Info(token, credit, bool(fields.get("context")), tuple(dict.fromkeys(services)), concurrency)


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


def announcement(info: Info) -> bytes:
    """Return the second frame of a worker's first ``waiting``, the counterpart of :class:`Info`."""
    return encode(
        {
            "pirate": 1,
            "token": info.token,
            "credit": info.credit,
            "context": info.context,
            "services": list(info.services),
            "concurrency": info.concurrency,
        }
    )
