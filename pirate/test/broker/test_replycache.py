# -*- test-case-name: pirate.test.broker.test_replycache -*-
"""The answers that are remembered, and how much room they take."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.counters import Counters
from pirate.broker.replycache import Outcome, ReplyCache
from pirate.settings.limits import RequestPolicy
from pirate.wire.words import Frames


def makeMemory(seconds: float = 60.0, entries: int = 0, limit: int = 1 << 20) -> tuple[ReplyCache, Counters]:
    """Return a memory, and what counts for it."""
    counters = Counters()
    return ReplyCache(seconds, entries, limit, counters), counters


class MemoryTests(SynchronousTestCase):
    """What is forgotten, and when."""

    def test_size(self) -> None:
        """An outcome is counted with about what it takes: of the process's memory, from 0.8 to 1.3 times as much."""
        bodies: list[Frames] = [[bytes(32)], [bytes(4000)], [bytes(16)] * 10]
        for body in bodies:
            memory, _ = makeMemory(limit=1 << 40)
            tracemalloc.start()
            try:
                for number in range(5000):
                    copy = [bytes(bytearray(frame)) for frame in body]
                    memory.remember(number.to_bytes(16, "big"), Outcome(copy), number / 1e6)
                taken = tracemalloc.get_traced_memory()[0] / 5000
            finally:
                tracemalloc.stop()
            counted = Outcome(body).size()
            self.assertTrue(0.8 * taken < counted < 1.3 * taken, (len(body), taken, counted))

    def test_defaultHoldsMore(self) -> None:
        """By default 64 MiB are filled with answers of 32 bytes: more than 2,500 a second for 60 seconds."""
        policy = RequestPolicy()
        memory, counters = makeMemory(policy.remember, policy.rememberEntries, int(policy.rememberMib * (1 << 20)))
        outcome = Outcome([bytes(32)])
        for number in range(150_000):
            memory.remember(number.to_bytes(16, "big"), outcome, 0.0)
        self.assertEqual((len(memory), counters.forgotten), (150_000, 0))
        self.assertIsNotNone(memory.recall(bytes(16), 59.9))

    def test_early(self) -> None:
        """What is forgotten for want of room is counted, the oldest first; what is forgotten in time is not."""
        outcome = Outcome([bytes(1000)])
        memory, counters = makeMemory(limit=3 * outcome.size())
        for key in (b"1", b"2", b"3", b"4"):
            memory.remember(key, outcome, 0.0)
        self.assertEqual([memory.recall(key, 1.0) is None for key in (b"1", b"2")], [True, False])
        self.assertEqual(counters.forgotten, 1)
        memory.remember(b"5", outcome, 61.0)
        self.assertEqual((len(memory), counters.forgotten), (1, 1))

    def test_entries(self) -> None:
        """A number of entries can be set, too; what goes beyond it is counted."""
        memory, counters = makeMemory(entries=2)
        for key in (b"1", b"2", b"3"):
            memory.remember(key, Outcome([b"x"]), 0.0)
        self.assertEqual((len(memory), counters.forgotten), (2, 1))

    def test_tooLarge(self) -> None:
        """An outcome larger than the whole memory is not remembered, pushes nothing out, and is counted."""
        memory, counters = makeMemory(limit=2000)
        memory.remember(b"1", Outcome([b"x"]), 0.0)
        memory.remember(b"2", Outcome([bytes(3000)]), 0.0)
        self.assertEqual((len(memory), memory.recall(b"2", 0.0), counters.forgotten), (1, None, 1))

    def test_off(self) -> None:
        """With 0 seconds nothing is remembered, and nothing is missing."""
        memory, counters = makeMemory(seconds=0.0)
        memory.remember(b"1", Outcome([b"x"]), 0.0)
        self.assertEqual((len(memory), counters.forgotten), (0, 0))
