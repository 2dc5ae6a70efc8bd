"""
The decision whether to read more from clients, by how much waits.

When the backlog is full, or a client has more than its share of it, the frontend is hardly read: ZeroMQ's queues fill,
and the clients' sends block.  A bounded number of messages is read all the same, many times a second and as long as it
takes, because pings, cancels and the first requests of other clients are among them.  The requests of clients that
should be held back are among them too.  They are kept until the extra room for them is used up, then they are given up.
"""

from __future__ import annotations

from pirate.broker.deadlines import Deadlines
from pirate.broker.queues import Queues
from pirate.broker.request import Request, State
from pirate.settings.limits import RequestPolicy

#: The extra room beyond the backlog, for requests that are read all the same: their number, and their bytes as a part
#: of the backlog's.
EXTRA_REQUESTS, EXTRA_BYTES = 1000, 0.25
#: The reserve beyond the backlog, for clients that have no other request waiting, as a part of the backlog's bytes.
RESERVE_BYTES = 1.0
#: The most messages that are read in one interval while the frontend is not read freely, and the interval in seconds.
MESSAGES, INTERVAL = 16, 0.01
#: The longest pause between two rounds, in seconds: the short one while clients send first requests, the long one after
#: :data:`LISTEN` seconds without any.
SHORT_PAUSE, LONG_PAUSE, LISTEN = 0.03, 0.2, 5.0
#: Clients in a round, at most.
MAX_ROUND = 5000
#: Why a request is given up.
FULL = "the backlog is full"


class Throttle:
    """
    Lets a limited number of messages through, so that no client is shut out by those that send too much.

    A ROUTER reads its peers in turn.  So a round is over when one of the clients to be held back has its second turn in
    it: every other client that had sent something has had its turn by then.  After each round there is a pause, so that
    only as many requests are read as it takes to hear everyone.  It is as long as the interval, and twice that for each
    eighth of the extra room that is in use.

    :ivar due: when the next messages may be read.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self._left = 0
        self._began = 0.0
        self._round: set[bytes] = set()
        self._heard = float("-inf")

    def mayRead(self, now: float) -> bool:
        """
        Return whether one more message may be read now.

        :param now: the time in seconds, on a clock that does not go back.
        """
        if now >= self.due:
            self._began = now
            self.due = now + INTERVAL
            self._left = MESSAGES
        if not self._left:
            return False
        self._left -= 1
        return True

    def noteBatch(self, count: int) -> None:
        """Note that the message just read has so many requests, which count as as many messages."""
        self._left -= count - 1
        if self._left < 0:
            self.due += INTERVAL * -self._left / MESSAGES
            self._left = 0

    def noteFirst(self) -> None:
        """Note that the message just read is a client's first request, so that the next such one is read soon."""
        self._heard = self._began

    def noteCrowding(self, client: bytes, used: float) -> None:
        """
        Note that the message just read is a request of a client that should be held back.

        :param client: its routing id.
        :param used: the part of the extra room that is in use.
        """
        if client not in self._round and len(self._round) < MAX_ROUND:
            self._round.add(client)
            return
        longest = LONG_PAUSE if self._began > self._heard + LISTEN else SHORT_PAUSE
        self.due = self._began + min(INTERVAL * 2.0 ** int(8 * min(used, 1.0)), longest)
        self._left = 0
        # The next round begins anew: a client that has just come may have its turn after this one.
        self._round.clear()


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
        self._maxRequests, self._maxBytes = policy.backlog, policy.backlogBytes
        self._throttle = Throttle()
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
        return self._throttle.mayRead(self._deadlines.now)

    def noteBatch(self, count: int) -> None:
        """Note that the message just read has so many requests."""
        if not self.wantsRequests():
            self._throttle.noteBatch(count)

    def secondsUntilExtraRead(self) -> float:
        """Return in how many seconds to ask :meth:`mayReadExtra` again."""
        return max(self._throttle.due - self._deadlines.now, 0.0)

    def excess(self, request: Request) -> str | None:
        """
        Check a queued request against its client's share and the backlog, and note a client that should be held back.

        :return: why the request should be given up; ``None`` if it may wait.
        """
        queues, share = self._queues, request.share
        if request.state is not State.QUEUED or share is None:
            return None
        # What waited before it, because a request is kept if there was any room left.
        bytesBefore = queues.waitingBytes - request.waitingBytes
        if share.waiting == 1:
            # The first request of every client is welcome.
            self._throttle.noteFirst()
            return FULL if bytesBefore >= self._maxBytes * (1 + RESERVE_BYTES) else None
        if share.waiting > queues.maxPerClient or share.bytes > queues.maxBytesPerClient:
            if request.requestId or self.rejects:
                return f"{share.waiting - 1} requests of this client are waiting"
            queues.noteOver(share)
        elif not self.isFull():
            return None
        used = max(
            (queues.waiting - 1 - self._maxRequests) / EXTRA_REQUESTS,
            (bytesBefore / self._maxBytes - 1) / EXTRA_BYTES,
            0.0,
        )
        self._throttle.noteCrowding(request.route[0], used)
        return FULL if used >= 1 else None
