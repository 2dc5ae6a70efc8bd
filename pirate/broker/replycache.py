"""A cache of outcomes, so that a request that is sent again is not executed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from pirate.broker.counters import Counters
from pirate.wire.words import Code, Frames

#: The bytes that one outcome takes besides its frames: its place in the cache, its request id, and the objects that
#: hold them.
ENTRY_BYTES = 340
#: The bytes that one frame takes besides its content: as ``bytes``, and as a frame of ZeroMQ's, which may keep a whole
#: receive buffer alive.
FRAME_BYTES, LARGE_FRAME_BYTES, BUFFER_BYTES = 50, 250, 8192


class Outcome:
    """
    The outcome of a request.

    :ivar parts: the parts of its reply before the last, each one or more frames.
    :ivar body: the last part, or the whole reply; ``None`` if it failed, or is unfinished.
    :ivar code: why it failed.
    :ivar message: the same in words.
    :ivar deaths: how many workers died while executing it.
    :ivar suspected: how many more deaths it is charged with if it takes another worker down.
    """

    __slots__ = ("body", "code", "deaths", "message", "parts", "suspected")

    def __init__(
        self,
        body: Frames | None,
        code: Code | None = None,
        message: str = "",
        parts: Sequence[Frames] = (),
        deaths: int = 0,
        suspected: int = 0,
    ) -> None:
        self.body = body
        self.code = code
        self.message = message
        self.parts = parts
        self.deaths = deaths
        self.suspected = suspected

    def isUnfinished(self) -> bool:
        """Return whether there is none: the request has used attempts, and may be sent again for the others."""
        return self.body is None and self.code is None

    def size(self) -> int:
        """Return the bytes that it takes to remember this."""
        total = ENTRY_BYTES + len(self.message)
        for frames in (*self.parts, self.body or ()):
            for frame in frames:
                if type(frame) is bytes:
                    total += FRAME_BYTES + len(frame)
                else:
                    total += LARGE_FRAME_BYTES + max(len(frame), BUFFER_BYTES)
        return total

    def whole(self) -> Frames:
        """Return the reply in one: the frames of all parts in order, and of the last unless it is one empty frame."""
        if not self.parts:
            return self.body or (b"",)
        last = [] if self.body is None or (len(self.body) == 1 and not len(self.body[0])) else list(self.body)
        return [*(frame for part in self.parts for frame in part), *last] or [b""]


class ReplyCache:
    """
    A cache of outcomes by the client's request id, limited by age, size and number; the oldest go first.

    :param seconds: how long each outcome is remembered; 0: not at all.
    :param entries: the number of outcomes, at most; 0: as many as ``limit`` allows.
    :param limit: the bytes of all of them, by :meth:`Outcome.size`.
    :param counters: counts the outcomes that are dropped before their time.
    """

    def __init__(self, seconds: float, entries: int, limit: int, counters: Counters) -> None:
        self._seconds = seconds
        self._entries = entries or 1 << 62
        self._limit = limit
        self._counters = counters
        self._outcomes: OrderedDict[bytes, tuple[float, int, Outcome]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._outcomes)

    def remember(self, requestId: bytes, outcome: Outcome, now: float) -> None:
        """Remember the outcome of a request."""
        if not self._seconds:
            return
        self._expire(now)
        if requestId in self._outcomes:
            self.forget(requestId)
        size = outcome.size()
        if size > self._limit:
            self._counters.forgotten += 1
            return
        self._outcomes[requestId] = (now + self._seconds, size, outcome)
        self._bytes += size
        while len(self._outcomes) > self._entries or self._bytes > self._limit:
            self.forget(next(iter(self._outcomes)))
            self._counters.forgotten += 1

    def recall(self, requestId: bytes, now: float) -> Outcome | None:
        """Return the outcome of a request; ``None`` if it is not remembered."""
        # Most requests are new.
        if requestId not in self._outcomes:
            return None
        self._expire(now)
        entry = self._outcomes.get(requestId)
        return None if entry is None else entry[2]

    def forget(self, requestId: bytes) -> None:
        """Drop the outcome of a request."""
        entry = self._outcomes.pop(requestId, None)
        if entry is not None:
            self._bytes -= entry[1]

    def _expire(self, now: float) -> None:
        while self._outcomes:
            requestId, (until, _size, _outcome) = next(iter(self._outcomes.items()))
            if until > now:
                return
            self.forget(requestId)
