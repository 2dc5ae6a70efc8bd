"""The words, codes and limits of the wire, and the base class of the values that the parsers return."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

#: The frames of a message.  A frame is ``bytes``, but a large one may be another buffer with a length: the transport
#: passes on one of more than 4096 bytes as a ``zmq.Frame``, uncopied.  Use ``len``, ``bytes`` and ``memoryview`` on a
#: frame of unknown size, and no methods of ``bytes``.
Frames = Sequence[bytes]

#: The first bytes of a native header frame.
MAGIC = b"PIR1"
#: The most frames between a client's routing id and the empty delimiter.
MAX_ENVELOPE = 32
#: The most bytes of all of them: routing ids and a native header.
MAX_ENVELOPE_BYTES = 72 << 10
#: The most requests that a worker may ask to hold at a time, if it executes them one after the other.
MAX_CREDIT = 64
#: The most requests that a worker may execute at a time, which is what ZeroMQ queues for it while it is busy.
MAX_CONCURRENCY = 1000
#: The size of a request id, and the least value of its first byte; no word begins with a byte that high.
ID_SIZE, MIN_FIRST_BYTE = 8, b"\x80"
#: The most requests or replies that are packed into one message, and the largest body of one of them, in bytes.
MAX_PACKED, PACKED_SIZE = 64, 1024
#: The bytes of the largest packed message: a number, and for each an id, a size and a body.
LARGEST_PACK = 1 + MAX_PACKED * (8 + 2 + PACKED_SIZE)
#: The longest service name, in characters.
MAX_SERVICE = 255

#: The most requests or replies in one message between a client and the broker, and the most bytes of the body of each.
MAX_BATCH, MAX_BATCHED_BYTES = 64, 1024

#: The longest JSON object that is parsed, in bytes.
MAX_JSON = 65536

#: The longest text about an error, in bytes of UTF-8.  Even as JSON, where a byte may take six, it is far below what a
#: client reads.
MAX_TEXT = 4096

WAITING = b"waiting"
PROCESSING = b"processing"
DEQUEUE = b"dequeue"
EXITING = b"exiting"
HEARTBEAT = b"heartbeat"
RETIRE = b"retire"
CANCEL = b"cancel"
PARTIAL = b"partial"
ERROR = b"error"
PACK = b"pack"

#: The words of a worker's status.
WORDS = frozenset({WAITING, PROCESSING, DEQUEUE, EXITING, HEARTBEAT})


class Code(StrEnum):
    """Why a request has no reply of the app."""

    APP_ERROR = "app-error"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker-lost"
    EXPIRED = "expired"
    BUSY = "busy"
    UNKNOWN_SERVICE = "unknown-service"
    CANCELLED = "cancelled"
    DENIED = "denied"
    MALFORMED = "malformed"
    STOPPING = "stopping"


class Condition(StrEnum):
    """The state of a server, as told in the reply to a ping."""

    #: Fewer than ``min-servers`` workers have been ready since it was started.
    STARTING = "starting"
    #: It has a worker, or starts one for the next request.
    READY = "ready"
    #: It has no workers: all have died, or none can start.
    NO_WORKERS = "no-workers"
    #: It accepts no more requests.
    STOPPING = "stopping"


class Value:
    """A base class with equality and ``repr`` by slots, as a dataclass has, but without its slow import in a worker."""

    __slots__: tuple[str, ...] = ()

    def _fields(self) -> dict[str, Any]:
        classes = reversed(type(self).__mro__)
        return {name: getattr(self, name) for each in classes for name in getattr(each, "__slots__", ())}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._fields().items())
        return f"{type(self).__name__}({shown})"


class Malformed(Value):
    """
    The result of parsing frames that are no valid message.

    :ivar reason: a short fixed word, fit for a counter's name.
    :ivar reply: the frames to reply with; ``None`` if the sender would not understand a reply.
    """

    __slots__ = ("reason", "reply")

    def __init__(self, reason: str, reply: list[bytes] | None = None) -> None:
        self.reason = reason
        self.reply = reply


def shorten(text: str) -> str:
    """Cut a text for people to ``MAX_TEXT`` bytes, with a question mark for each character that UTF-8 cannot encode."""
    data = text[: MAX_TEXT + 1].encode(errors="replace")
    return data.decode() if len(data) <= MAX_TEXT else data[: MAX_TEXT - 3].decode(errors="ignore") + "..."


def readText(frame: bytes) -> str:
    """Decode a frame as text for people, whatever its bytes are, cut to ``MAX_TEXT`` bytes."""
    return shorten(bytes(memoryview(frame)[: MAX_TEXT + 1]).decode(errors="replace"))


def encode(value: dict[str, Any]) -> bytes:
    """Encode a JSON object as a frame."""
    return json.dumps(value, separators=(",", ":")).encode()


def decodeObject(frame: bytes) -> dict[str, Any] | None:
    """Decode the JSON object in a frame; return ``None`` if there is none, or if it is longer than ``MAX_JSON``."""
    if len(frame) > MAX_JSON:
        return None
    try:
        value = json.loads(bytes(frame))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
