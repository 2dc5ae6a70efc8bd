# -*- test-case-name: pirate.test.broker.test_replycache -*-
"""The reply cache: what it remembers, and how much memory it takes."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.counters import Counters
from pirate.broker.replycache import Outcome, ReplyCache
from pirate.settings.limits import RequestPolicy
from pirate.wire.words import Frames


def makeCache(seconds: float = 60.0, entries: int = 0, limit: int = 1 << 20) -> tuple[ReplyCache, Counters]:
    """Return a cache and its counters."""
    counters = Counters()
    return ReplyCache(seconds, entries, limit, counters), counters


class ReplyCacheTests(SynchronousTestCase):
    """The size of the cache, and the replies that it drops."""

    def test_size(self) -> None:
        """An outcome counts for 0.8 to 1.3 times the memory that it takes."""
        bodies: list[Frames] = [[bytes(32)], [bytes(4000)], [bytes(16)] * 10]
        for body in bodies:
            memory, _ = makeCache(limit=1 << 40)
            tracemalloc.start()
            try:
                for number in range(2000):
                    copy = [bytes(bytearray(frame)) for frame in body]
                    memory.remember(number.to_bytes(16, "big"), Outcome(copy), number / 1e6)
                taken = tracemalloc.get_traced_memory()[0] / 2000
            finally:
                tracemalloc.stop()
            counted = Outcome(body).size()
            self.assertTrue(0.8 * taken < counted < 1.3 * taken, (len(body), taken, counted))

    def test_defaultHoldsMore(self) -> None:
        """By default 64 MiB hold replies of 32 bytes of more than 2,500 a second for 60 seconds."""
        policy = RequestPolicy()
        memory, counters = makeCache(
            policy.rememberSeconds, policy.rememberEntries, int(policy.rememberMib * (1 << 20))
        )
        outcome = Outcome([bytes(32)])
        for number in range(150_000):
            memory.remember(number.to_bytes(16, "big"), outcome, 0.0)
        self.assertEqual((len(memory), counters.forgotten), (150_000, 0))
        self.assertIsNotNone(memory.recall(bytes(16), 59.9))

    def test_early(self) -> None:
        """Outcomes that are dropped for lack of room, the oldest first, are counted; expired ones are not."""
        outcome = Outcome([bytes(1000)])
        memory, counters = makeCache(limit=3 * outcome.size())
        for requestId in (b"1", b"2", b"3", b"4"):
            memory.remember(requestId, outcome, 0.0)
        self.assertEqual([memory.recall(requestId, 1.0) is None for requestId in (b"1", b"2")], [True, False])
        self.assertEqual(counters.forgotten, 1)
        memory.remember(b"5", outcome, 61.0)
        self.assertEqual((len(memory), counters.forgotten), (1, 1))

    def test_entries(self) -> None:
        """The number of entries can be limited, too; what is dropped for that is counted."""
        memory, counters = makeCache(entries=2)
        for requestId in (b"1", b"2", b"3"):
            memory.remember(requestId, Outcome([b"x"]), 0.0)
        self.assertEqual((len(memory), counters.forgotten), (2, 1))

    def test_tooLarge(self) -> None:
        """An outcome larger than the whole cache is not remembered, drops no other, and is counted."""
        memory, counters = makeCache(limit=2000)
        memory.remember(b"1", Outcome([b"x"]), 0.0)
        memory.remember(b"2", Outcome([bytes(3000)]), 0.0)
        self.assertEqual((len(memory), memory.recall(b"2", 0.0), counters.forgotten), (1, None, 1))

    def test_off(self) -> None:
        """With 0 seconds nothing is remembered, and nothing is counted."""
        memory, counters = makeCache(seconds=0.0)
        memory.remember(b"1", Outcome([b"x"]), 0.0)
        self.assertEqual((len(memory), counters.forgotten), (0, 0))
