# -*- test-case-name: pirate.test.broker.test_backpressure -*-
"""A few messages at a time, while no more requests are wanted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.backpressure import INTERVAL, MESSAGES, Throttle


class ThrottleTests(SynchronousTestCase):
    """How many messages are read, and when."""

    def setUp(self) -> None:
        """Nothing has been read."""
        self.throttle = Throttle()

    def look(self, now: float, used: float = 0.0, crowds: int = 1, others: int = 1000) -> int:
        """
        Read as much as is allowed.

        :param others: messages that come before one that should have been held back, each time.
        :return: how many messages were read.
        """
        count = crowding = 0
        while self.throttle.mayRead(now, used, crowding, crowds):
            count += 1
            crowding += count % (others + 1) == 0
        return count

    def test_most(self) -> None:
        """There is a limit to the messages of one look, and the next one has to wait."""
        self.assertEqual([self.look(now) for now in (1.0, 1.0, 1.0 + INTERVAL / 2)], [MESSAGES, 0, 0])
        self.assertEqual(self.look(1.0 + INTERVAL), MESSAGES)

    def test_crowds(self) -> None:
        """A look ends when each of those has had its turn that should be held back."""
        self.assertEqual([self.look(1.0, others=0), self.look(2.0, others=3)], [1, 4])
        self.assertEqual([self.look(3.0, others=0, crowds=3), self.look(4.0, others=2, crowds=2)], [3, 6])

    def test_room(self) -> None:
        """The less room is left, the rarer are the looks; without room there are none, until there is some again."""
        due = []
        for now, used in ((1.0, 0.0), (2.0, 0.5), (3.0, 0.99)):
            self.look(now, used)
            due.append(self.throttle.due - now)
        self.assertEqual([round(each / INTERVAL) for each in due], [1, 16, 128])
        self.assertEqual([self.look(9.0, 1.0), self.look(10.0, 1.5), self.look(10.0)], [0, 0, MESSAGES])
