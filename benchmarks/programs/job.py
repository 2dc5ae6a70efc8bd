"""The job that the workers of every contestant run, and the layout of a request's first frame."""

from __future__ import annotations

from struct import Struct
from time import perf_counter_ns, sleep
from typing import Any

#: Both in nanoseconds: when the request was sent, and how long the job is to take or, in a reply, how long it took.
HEAD = Struct("<QQ")
#: Bytes of a request's first frame.
SIZE = 32


def work(head: bytes, *rest: bytes) -> tuple[bytes, ...]:
    """
    Give back what came, after as long a time as it says.

    It sleeps, because two workers that compute would leave no core of a small machine to the broker.

    :param head: the first frame: ``HEAD`` and padding.
    :return: the same frames, with how long the job took by its own clock, if it was to take any time.
    """
    sent, wanted = HEAD.unpack_from(head)
    if not wanted:
        return (head, *rest)
    began = perf_counter_ns()
    sleep(wanted / 1e9)
    return _done(head, sent, began, rest)


async def nap(head: bytes, *rest: bytes) -> tuple[bytes, ...]:
    """The same for a worker that runs many at once: it waits, on asyncio's loop."""
    import asyncio

    sent, wanted = HEAD.unpack_from(head)
    began = perf_counter_ns()
    await asyncio.sleep(wanted / 1e9)
    return _done(head, sent, began, rest)


def defer(head: bytes, *rest: bytes) -> Any:
    """The same on Twisted's reactor."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    loop: Any = reactor
    sent, wanted = HEAD.unpack_from(head)
    return deferLater(loop, wanted / 1e9, _done, head, sent, perf_counter_ns(), rest)


def _done(head: bytes, sent: int, began: int, rest: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (HEAD.pack(sent, perf_counter_ns() - began) + head[HEAD.size :], *rest)
