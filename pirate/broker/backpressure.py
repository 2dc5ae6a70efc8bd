"""
Whether to read more from clients, by how much waits.

When the backlog is full, or a client has more than its share of it, the frontend is hardly read: ZeroMQ's queues fill,
and the clients' sends block.  A few messages are read all the same, several times a second, because pings, cancels and
the first requests of other clients are among them.
"""

from __future__ import annotations

from pirate.broker.deadlines import Deadlines
from pirate.broker.queues import Queues
from pirate.broker.request import Request, State
from pirate.settings.limits import RequestPolicy

_MIB = 1 << 20
#: How many requests, and which part of its bytes, may wait beyond the backlog because they were peeked at.
EXTRA_REQUESTS, EXTRA_BYTES = 1000, 0.25
#: Seconds between two peeks at an otherwise unread frontend.  The interval doubles with each eighth of the extra room
#: that is in use.
INTERVAL = 0.01
#: Messages that are read in one peek, at most.
MESSAGES = 16


class Throttle:
    """
    Lets a few messages through, so that no client is shut out by those that send too much.

    A ROUTER reads its peers in turn.  With n clients to hold back, a peek ends after n of their requests: every other
    client has had its turn by then.

    :ivar due: when the next peek may begin.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self._began = -1.0
        self._left = 0
        self._enough = 0

    def mayRead(self, now: float, used: float, crowding: int, most: int) -> bool:
        """
        Return whether one more message may be read now.

        :param now: the time in seconds, on a clock that does not go back.
        :param used: which part is used of the room for what is read in peeks; with 1 there are no more peeks.
        :param crowding: how many requests have been read so far whose clients should be held back.
        :param most: how many of them end a peek.
        """
        if now >= self.due:
            if used >= 1:
                return False
            self.due = now + INTERVAL * 2.0 ** int(8 * used)
            self._began = now
            self._left = MESSAGES
            self._enough = crowding + most
        elif now != self._began:
            return False
        if not self._left or crowding >= self._enough:
            return False
        self._left -= 1
        return True


class Backpressure:
    """
    Compares what waits with the limits of the backlog.

    :param policy: the limits.
    :param queues: what waits.
    :param deadlines: the time.
    :ivar rejects: whether requests that exceed a limit are refused, instead of left unread.
    """

    def __init__(self, policy: RequestPolicy, queues: Queues, deadlines: Deadlines) -> None:
        self._queues = queues
        self._deadlines = deadlines
        self._maxRequests, self._maxBytes = policy.backlog, int(policy.backlogMib * _MIB)
        self._throttle = Throttle()
        self._crowding = 0
        self.rejects = policy.backlogPolicy == "reject"

    def isFull(self) -> bool:
        """Return whether no more requests may wait."""
        queues = self._queues
        return queues.waiting >= self._maxRequests or queues.waitingBytes >= self._maxBytes

    def wantsRequests(self) -> bool:
        """Return whether to read more requests."""
        queues = self._queues
        return not queues.waiting or self.rejects or not (queues.over or self.isFull())

    def mayReadExtra(self) -> bool:
        """Return whether to read one more message although no more requests are wanted."""
        return self._throttle.mayRead(self._deadlines.now, self._usedExtra(), self._crowding, max(self._queues.over, 1))

    def secondsUntilExtraRead(self) -> float | None:
        """Return in how many seconds to ask :meth:`mayReadExtra` again; ``None``: when a request has ended."""
        return None if self._usedExtra() >= 1 else max(self._throttle.due - self._deadlines.now, 0.0)

    def _usedExtra(self) -> float:
        """Return which part is used of the room beyond the backlog; 1: all of it."""
        queues = self._queues
        return max(
            (queues.waiting - self._maxRequests) / EXTRA_REQUESTS,
            (queues.waitingBytes / self._maxBytes - 1) / EXTRA_BYTES,
            0.0,
        )

    def excess(self, request: Request) -> str | None:
        """
        Check a queued request against its client's share and the backlog, and note a client that should be held back.

        :return: why the request should be given up; ``None`` if it may wait.
        """
        queues, share = self._queues, request.share
        if request.state is not State.QUEUED or share is None or share.waiting == 1:
            # The first request of every client is welcome.
            return None
        if share.waiting > queues.maxPerClient or share.bytes > queues.maxBytesPerClient:
            if request.requestId or self.rejects:
                return f"{share.waiting - 1} requests of this client are waiting"
            queues.noteOver(share)
            self._crowding += 1
        elif self.isFull():
            self._crowding += 1
        return None
