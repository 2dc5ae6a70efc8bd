"""
The broker: it accepts requests, and composes the parts that find a worker for each and send its client the outcome.

- Every accepted request gets an id of the broker's own, so that no worker can reply to a request that it was not given.
- A request with a request id of its client that is sent again is not executed again: it shares the reply of the first.
- A request that is not begun before its deadline is not begun at all.
- A job that takes too long is stopped together with its worker, and not tried again.
"""

from __future__ import annotations

from struct import Struct

from pirate.broker.attempts import Attempts
from pirate.broker.backpressure import Backpressure
from pirate.broker.counters import Counters
from pirate.broker.deadlines import Deadlines
from pirate.broker.dispatcher import Dispatcher
from pirate.broker.interfaces import BrokerEvents, Outgoing
from pirate.broker.queues import Queues
from pirate.broker.replies import Replies
from pirate.broker.replycache import ReplyCache
from pirate.broker.request import Request, State
from pirate.settings.limits import RequestPolicy
from pirate.wire.words import Code

_packId = Struct(">Q").pack
#: The bit that sets a request's id apart from every word.
_ID_BIT = 1 << 63


class Broker:
    """
    Accepts requests, and owns the parts that work on them.

    :param outgoing: sends messages.
    :param events: is told of what the server has to know.
    :param policy: the limits and the promises of requests.
    :param errorReply: whether clients that do not understand errors are sent them.
    :param firstId: where the numbering of requests starts, up to 62 random bits: a worker that knew another broker
        then cannot reply to one of this broker's ids by chance.
    :param watchBusy: whether to report each change of a worker between idle and busy.
    :ivar counters: counts what happens.
    :ivar deadlines: the time, and when something is due.
    :ivar queues: the requests that wait.
    :ivar replies: sends clients the outcomes.
    :ivar dispatcher: gives requests to workers.
    :ivar backpressure: says whether to read more requests.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        events: BrokerEvents,
        policy: RequestPolicy,
        *,
        errorReply: bool = False,
        firstId: int = 0,
        watchBusy: bool = False,
    ) -> None:
        share = policy.clientShare
        self.counters = Counters()
        self.deadlines = Deadlines(policy)
        self.queues = Queues(max(int(policy.backlog * share), 1), int(policy.backlogBytes * share))
        cache = ReplyCache(policy.rememberSeconds, policy.rememberEntries, policy.rememberBytes, self.counters)
        self.replies = Replies(outgoing, events, self.counters, cache, errorReply)
        self._attempts = Attempts(policy.maxAttempts)
        self.dispatcher = Dispatcher(
            outgoing, events, self.queues, self.deadlines, self._attempts, self.replies, self.counters, watchBusy
        )
        self.backpressure = Backpressure(policy, self.queues, self.deadlines)
        self._onlyOnce = self._attempts.maxAttempts == 1
        self._rejects = self.backpressure.rejects
        self._requestTimeout = policy.requestTimeout or None
        self._number = firstId | _ID_BIT
        self._refusal: str | None = None

    def isQuiet(self) -> bool:
        """Return whether every accepted request has ended."""
        return not self.queues.waiting and not self.dispatcher.inFlight

    def requestReceived(self, request: Request) -> None:
        """Accept a request and send it to a worker, or queue it, or refuse it."""
        self.counters.received += 1
        queues, now = self.queues, self.deadlines.now
        service = queues.services.get(request.service)
        if request.requestId and not self.replies.isNew(request.requestId, now) and self._isKnown(request):
            return
        if self._refusal is not None:
            self.dispatcher.fail(request, Code.STOPPING, self._refusal)
            return
        if service is None:
            self.dispatcher.fail(request, Code.UNKNOWN_SERVICE, f"no worker serves {request.service!r}")
            return
        if self._rejects and queues.waiting and self.backpressure.isFull():
            self.counters.overflowed += not request.toldErrors
            self.dispatcher.fail(request, Code.BUSY, f"{queues.waiting} requests are waiting")
            return
        self._number += 1
        request.brokerId = _packId(self._number)
        request.alone = self._onlyOnce
        if request.account is not None:
            request.account.open += 1
        timeout = self._requestTimeout if request.timeout is None else request.timeout
        if timeout is not None:
            request.deadline = now + timeout
        if request.requestId:
            self._attempts.cap(request)
            self.replies.opened(request)
            if request.deadline <= now:
                self.dispatcher.expire([request])
                return
        self.dispatcher.assign(request, service)
        # With less than one client's share of the backlog in it, no client has more than that.
        if queues.waiting > queues.maxPerClient or queues.waitingBytes > queues.maxBytesPerClient:
            excess = self.backpressure.excess(request)
            if excess is not None:
                queues.takeBack(request)
                self.counters.overflowed += not request.toldErrors
                self.dispatcher.fail(request, Code.BUSY, excess)

    def _isKnown(self, request: Request) -> bool:
        """Return whether a request has been sent before, so that it only shares the outcome, or gets it again."""
        if self.replies.join(request):
            self.counters.joined += 1
        elif self.replies.repeat(request, self.deadlines.now):
            self.counters.remembered += 1
        else:
            return False
        return True

    def refuse(self, request: Request, code: Code, message: str) -> None:
        """
        Give up a request that is not accepted.

        A command other than ``request`` only gets an error: it is not counted, because it would have ended no request.
        """
        if request.command == "request":
            self.counters.received += 1
            self.dispatcher.fail(request, code, message)
        else:
            self.replies.sendError(request, code, message)

    def cancel(self, command: Request) -> None:
        """Give up the open request that has the request id of a client's command."""
        request = self.replies.find(command.requestId)
        if request is not None:
            self.dispatcher.cancel(request)
        elif not self.replies.remembers(command, self.deadlines.now):
            # A request that is remembered has had its outcome.
            self.replies.sendError(command, Code.CANCELLED, "there is no such request")

    def withdraw(self, request: Request) -> None:
        """Give up a request that still waits, because its client has gone, or has sent another."""
        if request.state is State.QUEUED:
            self.dispatcher.finish(request)
            if request.requestId:
                self.replies.withdrawn(request, self.deadlines.now)
            self.counters.withdrawn += 1

    def noteDisconnected(self, request: Request) -> None:
        """Count a message of a client whose connection had been closed before it was read."""
        if request.command == "request":
            self.counters.received += 1
            self.counters.withdrawn += 1

    def stopAccepting(self, message: str) -> None:
        """
        Accept no more requests: the server is stopping.

        :param message: what clients are told.
        """
        self._refusal = message
