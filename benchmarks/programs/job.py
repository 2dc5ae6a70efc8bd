"""The job that the workers of every contestant run, and the layout of a request's first frame."""

from __future__ import annotations

from struct import Struct
from time import perf_counter_ns, sleep

#: Both in nanoseconds: when the request was sent, and how long the job is to take or, in a reply, how long it took.
HEAD = Struct("<QQ")
#: Bytes of a request's first frame.
SIZE = 32


def work(head: bytes, *rest: bytes) -> tuple[bytes, ...]:
    """
    Give back what came, after as long a time as it says.

    It sleeps, because two workers that compute would leave no core of a small machine to the broker.

    :param head: the first frame: L{HEAD} and padding.
    :return: the same frames, with how long the job took by its own clock, if it was to take any time.
    """
    sent, wanted = HEAD.unpack_from(head)
    if not wanted:
        return (head, *rest)
    began = perf_counter_ns()
    sleep(wanted / 1e9)
    return (HEAD.pack(sent, perf_counter_ns() - began) + head[HEAD.size :], *rest)
