# -*- test-case-name: pirate.test.worker.test_loopline -*-
"""A worker's socket on a loop, with lists for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.worker.loopline import LoopSocket
from pirate.worker.sockets import TURN


class FakeLine:
    """A line with room, or without."""

    def __init__(self) -> None:
        self.come: list[list[bytes]] = []
        self.sent: list[list[bytes]] = []
        self.kept: list[list[bytes]] = []
        self.room = True

    @property
    def full(self) -> bool:
        return bool(self.kept)

    def post(self, frames: list[bytes]) -> None:
        (self.sent if self.room else self.kept).append(frames)

    def flush(self) -> bool:
        if self.room:
            self.finish()
        return not self.kept

    def receive(self, most: int) -> Iterator[list[bytes]]:
        for _ in range(min(most, len(self.come))):
            yield self.come.pop(0)

    def finish(self) -> None:
        self.sent += self.kept
        self.kept = []


class Soon:
    """A call of a loop that may be cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def cancel(self) -> None:
        self.call = lambda: None


class ListLine(LoopSocket):
    """On a loop that is turned by hand."""

    def __init__(self, line: Any, received: Callable[[list[bytes]], None]) -> None:
        self.calls: list[Soon] = []
        super().__init__(line, received)

    def turn(self) -> None:
        """One turn of the loop."""
        calls, self.calls = self.calls, []
        for each in calls:
            each.call()

    def _soon(self, call: Callable[[], None]) -> Soon:
        self.calls.append(Soon(call))
        return self.calls[-1]

    def _newWaiter(self) -> list[bool]:
        return []

    def _fire(self, waiter: list[bool]) -> None:
        waiter.append(True)


class LoopLineTests(SynchronousTestCase):
    """When it looks."""

    def setUp(self) -> None:
        """A line, looked at for the first time."""
        self.socket = FakeLine()
        self.got: list[list[bytes]] = []
        self.socket.come.append([b"early"])
        self.line = ListLine(self.socket, self.got.append)
        self.line.turn()

    def test_first(self) -> None:
        """What has come before anybody looked is found, and then there is nothing to do."""
        self.assertEqual((self.got, self.line.calls), ([[b"early"]], []))

    def test_turns(self) -> None:
        """More than so many messages are read in several turns, though the socket tells of them once."""
        self.socket.come = [[b"%d" % number] for number in range(2 * TURN + 1)]
        self.line.look()
        self.assertEqual(len(self.got), 1 + TURN)
        self.line.turn()
        self.line.turn()
        self.assertEqual((len(self.got), self.line.calls), (2 + 2 * TURN, []))

    def test_post(self) -> None:
        """Sending may use up the sign that something has come, so it looks once after all that is sent."""
        self.line.post([b"a"])
        self.line.post([b"b"])
        self.socket.come.append([b"hidden"])
        self.assertEqual(len(self.line.calls), 1)
        self.line.turn()
        self.assertEqual(self.got[1:], [[b"hidden"]])

    def test_drained(self) -> None:
        """Who waits for room goes on when all that was posted has been sent."""
        self.assertIsNone(self.line.drained())
        self.socket.room = False
        self.line.post([b"a"])
        waiters = [self.line.drained(), self.line.drained()]
        self.line.turn()
        self.assertEqual(waiters, [[], []])
        self.socket.room = True
        self.line.look()
        self.assertEqual((waiters, self.socket.sent), ([[True], [True]], [[b"a"]]))

    def test_close(self) -> None:
        """Closed, it has sent everything, and reads nothing more."""
        self.socket.room = False
        self.line.post([b"a"])
        self.line.close()
        self.socket.come.append([b"late"])
        self.line.turn()
        self.line.post([b"b"])
        self.assertEqual((self.socket.sent, self.got, self.line.calls), ([[b"a"]], [[b"early"]], []))
