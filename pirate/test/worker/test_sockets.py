# -*- test-case-name: pirate.test.worker.test_sockets -*-
"""Tests of a worker's socket on a loop, with lists for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from pirate.worker.sockets import MAX_MESSAGES, DealerSocket, LoopSocket


class FakeSocket:
    """
    A :class:`~pirate.worker.sockets.DealerSocket` of lists.

    :ivar arrived: the messages that can be read.
    :ivar sent: the messages that were sent.
    :ivar kept: the messages that wait for room.
    :ivar room: whether there is room.
    """

    descriptor = 7

    def __init__(self) -> None:
        self.arrived: list[list[bytes]] = []
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
        for _ in range(min(most, len(self.arrived))):
            yield self.arrived.pop(0)

    def finish(self) -> None:
        self.sent += self.kept
        self.kept = []


class Call:
    """A scheduled call that may be cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ListLoop:
    """
    A loop whose turns a test takes.

    :ivar calls: the calls that are scheduled for the next turn.
    :ivar readers: what is called when a descriptor is readable.
    """

    cancellation: type[BaseException] = KeyboardInterrupt
    awaitsDeferreds = False

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.readers: dict[int, Callable[[], None]] = {}

    def turn(self) -> None:
        """Take one turn."""
        calls, self.calls = self.calls, []
        for each in calls:
            if not each.cancelled:
                each.call()

    def callSoon(self, call: Callable[[], None]) -> Call:
        self.calls.append(Call(call))
        return self.calls[-1]

    def newWaiter(self) -> list[bool]:
        return []

    def fire(self, waiter: list[bool]) -> None:
        waiter.append(True)

    def addReader(self, descriptor: int, call: Callable[[], None]) -> None:
        self.readers[descriptor] = call

    def removeReader(self) -> None:
        self.readers.clear()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Call:
        raise NotImplementedError

    def callLater(self, seconds: float, call: Callable[..., None], *arguments: Any) -> Call:
        raise NotImplementedError

    def pause(self) -> Awaitable[None]:
        raise NotImplementedError

    def watchTerm(self, call: Callable[[], None]) -> None:
        raise NotImplementedError

    def unwatchTerm(self) -> None:
        raise NotImplementedError


class Listener:
    """
    Receives messages.

    :ivar messages: all that it has received.
    """

    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []

    def received(self, frames: list[bytes]) -> None:
        self.messages.append(frames)


class LoopSocketTests(SynchronousTestCase):
    """A socket reads and sends at the right times."""

    def setUp(self) -> None:
        """Start a socket on which a message has arrived already."""
        self.fake = FakeSocket()
        self.fake.arrived.append([b"early"])
        self.loop = ListLoop()
        self.listener = Listener()
        self.socket = LoopSocket(self.loop, cast(DealerSocket, self.fake))
        self.socket.start(self.listener)
        self.loop.turn()

    def test_first(self) -> None:
        """A message that arrived before the start is read in the first turn; then no call is scheduled."""
        self.assertEqual((self.listener.messages, self.loop.calls), ([[b"early"]], []))

    def test_readable(self) -> None:
        """When the descriptor is readable, messages are read."""
        self.fake.arrived.append([b"x"])
        self.loop.readers[FakeSocket.descriptor]()
        self.assertEqual(self.listener.messages[1:], [[b"x"]])

    def test_turns(self) -> None:
        """More than so many messages are read in several turns, although the descriptor tells of them once."""
        self.fake.arrived = [[b"%d" % number] for number in range(2 * MAX_MESSAGES + 1)]
        self.socket.look()
        self.assertEqual(len(self.listener.messages), 1 + MAX_MESSAGES)
        self.loop.turn()
        self.loop.turn()
        self.assertEqual((len(self.listener.messages), self.loop.calls), (2 + 2 * MAX_MESSAGES, []))

    def test_post(self) -> None:
        """After messages are sent, the socket is read once in the next turn: sending may use up the sign to read."""
        self.socket.post([b"a"])
        self.socket.post([b"b"])
        self.fake.arrived.append([b"hidden"])
        self.assertEqual(len(self.loop.calls), 1)
        self.loop.turn()
        self.assertEqual(self.listener.messages[1:], [[b"hidden"]])

    def test_drained(self) -> None:
        """A Deferred that waits for room fires when all posted messages have been sent."""
        self.assertIsNone(self.socket.drained())
        self.fake.room = False
        self.socket.post([b"a"])
        waiters = [self.socket.drained(), self.socket.drained()]
        self.loop.turn()
        self.assertEqual(waiters, [[], []])
        self.fake.room = True
        self.socket.look()
        self.assertEqual((waiters, self.fake.sent), ([[True], [True]], [[b"a"]]))

    def test_close(self) -> None:
        """A closed socket has sent everything, and reads nothing more."""
        self.fake.room = False
        self.socket.post([b"a"])
        self.socket.close()
        self.fake.arrived.append([b"late"])
        self.loop.turn()
        self.socket.post([b"b"])
        self.assertEqual((self.fake.sent, self.listener.messages), ([[b"a"]], [[b"early"]]))
        self.assertEqual((self.loop.calls, self.loop.readers), ([], {}))
