"""The answers that are remembered, so that a request which is sent again is not run again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from pirate.broker.counters import Counters
from pirate.wire.words import Code, Frames

#: What one outcome takes beside its frames, in bytes: its place in the memory, its key, and the objects around them.
ENTRY = 340
#: What one frame takes beside its bytes: as bytes, and as ZeroMQ has it, which may keep a whole receive buffer alive.
FRAME, LARGE_FRAME, BUFFER = 50, 250, 8192


class Outcome:
    """
    How a request ended.

    :ivar parts: the parts of its answer that came before the last, each one or more frames.
    :ivar body: the last part, or all of the answer; ``None`` if there was none.
    :ivar code: why there was none.
    :ivar message: the same in words.
    :ivar attempts: how many workers had died of it.
    """

    __slots__ = ("attempts", "body", "code", "message", "parts")

    def __init__(
        self,
        body: Frames | None,
        code: Code | None = None,
        message: str = "",
        parts: Sequence[Frames] = (),
        attempts: int = 0,
    ) -> None:
        self.body = body
        self.code = code
        self.message = message
        self.parts = parts
        self.attempts = attempts

    def size(self) -> int:
        """Return what it takes to remember it, in bytes."""
        total = ENTRY + len(self.message)
        for frames in (*self.parts, self.body or ()):
            for frame in frames:
                if type(frame) is bytes:
                    total += FRAME + len(frame)
                else:
                    total += LARGE_FRAME + max(len(frame), BUFFER)
        return total

    def whole(self) -> Frames:
        """The answer in one: the frames of all parts in order, and those of the last unless it is one empty frame."""
        if not self.parts:
            return self.body or (b"",)
        last = [] if self.body is None or (len(self.body) == 1 and not len(self.body[0])) else list(self.body)
        return [*(frame for part in self.parts for frame in part), *last] or [b""]


class ReplyCache:
    """
    Remember outcomes by the client's name for the request; forget them by age, size and number, the oldest first.

    :param seconds: how long each is remembered; 0: not at all.
    :param entries: how many are; 0: as many as ``limit`` allows.
    :param limit: the bytes of all of them, by :meth:`Outcome.size`.
    :param counters: counts those that are forgotten before their time.
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

    def remember(self, key: bytes, outcome: Outcome, now: float) -> None:
        """A request has ended."""
        if not self._seconds:
            return
        self._expire(now)
        self.forget(key)
        size = outcome.size()
        if size > self._limit:
            self._counters.forgotten += 1
            return
        self._outcomes[key] = (now + self._seconds, size, outcome)
        self._bytes += size
        while len(self._outcomes) > self._entries or self._bytes > self._limit:
            self.forget(next(iter(self._outcomes)))
            self._counters.forgotten += 1

    def recall(self, key: bytes, now: float) -> Outcome | None:
        """How a request ended, if that is remembered."""
        self._expire(now)
        entry = self._outcomes.get(key)
        return None if entry is None else entry[2]

    def forget(self, key: bytes) -> None:
        """Remember this one no more."""
        entry = self._outcomes.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]

    def _expire(self, now: float) -> None:
        while self._outcomes:
            key, (until, _size, _outcome) = next(iter(self._outcomes.items()))
            if until > now:
                return
            self.forget(key)
