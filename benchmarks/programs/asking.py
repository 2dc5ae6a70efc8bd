"""The requests of one client: each differs from all others, and each reply is compared with its request."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from struct import Struct
from time import perf_counter, perf_counter_ns

from job import HEAD, SIZE

_NUMBER = Struct("<Q")
_PADDING = bytes(SIZE - HEAD.size - _NUMBER.size)
#: Seconds by which a request may be sent late without having waited: timers are that coarse.
TICK = 0.001
#: Requests that are sent at once, at most, before replies are read.
LOT = 64


def payload(sent: int, number: int) -> bytes:
    """
    Return a request.

    :param sent: when it is sent; nanoseconds.
    """
    return HEAD.pack(sent, 0) + _NUMBER.pack(number) + _PADDING


class WrongReply(Exception):
    """A reply is that of another request, or none."""


class Requests:
    """
    An iterator of requests, until there were enough or the time is over.  Several threads may share it.

    :param number: how many; 0: any number.
    :param seconds: for how long; 0: without end.
    :ivar latencies: nanoseconds from each request to its reply.
    """

    def __init__(self, number: int = 0, seconds: float = 0) -> None:
        self._numbers: Iterator[int] = iter(range(number)) if number else count()
        self._until = perf_counter_ns() + int(seconds * 1e9) if seconds else 1 << 63
        self.latencies: list[int] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        now = perf_counter_ns()
        if now > self._until:
            raise StopIteration
        return payload(now, next(self._numbers))

    def check(self, sent: bytes, reply: object) -> None:
        """
        Compare a reply with its request.

        :raise WrongReply: if they differ.
        """
        if reply != sent:
            raise WrongReply(f"{reply!r} is the reply to {sent!r}")
        self.latencies.append(perf_counter_ns() - HEAD.unpack_from(sent)[0])


class Pace(Requests):
    """
    Requests that are due at regular times, whether or not those before are answered.

    A request that is sent more than :data:`TICK` late has waited in its client, which counts as its latency.

    :param rate: requests a second.
    :param seconds: for how long.
    :param now: when it begins, by ``perf_counter``; ``None``: now.
    """

    def __init__(self, rate: float, seconds: float, now: float | None = None) -> None:
        super().__init__()
        self._began = perf_counter() if now is None else now
        self._rate = rate
        self._count = round(rate * seconds)
        self._sent = 0

    def wait(self, now: float | None = None) -> float | None:
        """Return the seconds until the next request is due, 0 or more; ``None`` if there are no more."""
        if self._sent >= self._count:
            return None
        return max(self._began + self._sent / self._rate - (perf_counter() if now is None else now), 0.0)

    def due(self, now: float | None = None) -> list[bytes]:
        """Return the requests that are due, :data:`LOT` at most."""
        now = perf_counter() if now is None else now
        last = min(int((now - self._began) * self._rate) + 1, self._count, self._sent + LOT)
        numbers = range(self._sent, max(last, self._sent))
        self._sent = numbers.stop
        times = (min(now, self._began + number / self._rate + TICK) for number in numbers)
        return [payload(int(time * 1e9), number) for time, number in zip(times, numbers, strict=True)]


def quantiles(latencies: list[int]) -> dict[str, float]:
    """Return ``p50``, ``p99`` and ``p99.9``, milliseconds."""
    ordered = sorted(latencies) or [0]
    shares = {"p50": 500, "p99": 990, "p99.9": 999}
    return {name: ordered[len(ordered) * share // 1000] / 1e6 for name, share in shares.items()}
