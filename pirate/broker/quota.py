"""
The admission of requests: a limit on what each client has open, a token bucket for its rate, and the app's own rule.

Each call takes the same time whatever the number of clients.  A client that has no open request and a full bucket is no
different from one that was never seen, so its account is dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from pirate.broker.interfaces import Sender
from pirate.broker.request import Request, RequestFacts
from pirate.settings.limits import PeerLimits
from pirate.wire.words import Code

#: How many of the least recently used accounts are checked for removal at each message.
CHECKED = 2


class Account:
    """
    The account of one client.

    :ivar open: how many of its requests wait or are in flight.
    :ivar tokens: how many more it may send at once, at the time of ``since``.
    :ivar since: when ``tokens`` was computed.
    """

    __slots__ = ("open", "since", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.open = 0
        self.tokens = tokens
        self.since = now


class Quota:
    """
    The accounts of all clients.

    :param requests: how many requests of one client may wait or be in flight; 0: any number.
    :param rate: how many it may send per second, on average; 0: any number.
    :param burst: how many of these it may send at once.
    """

    def __init__(self, requests: int, rate: float, burst: int) -> None:
        self._requests = requests
        self._rate = rate
        self._burst = burst
        self._accounts: OrderedDict[Hashable, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def account(self, client: Hashable, now: float) -> Account:
        """
        Return the account of a client that has just sent a message.

        :param client: any name for it.
        :param now: the time in seconds, on a clock that does not go back.
        """
        self._forgetSome(now)
        account = self._accounts.get(client)
        if account is None:
            account = self._accounts[client] = Account(self._burst, now)
        else:
            self._accounts.move_to_end(client)
        return account

    def takeToken(self, account: Account, now: float, opens: bool = True) -> str | None:
        """
        Take a token for a message of a client.

        :param opens: whether the message is a request, which will be open.
        :return: why the client may not send it now; ``None`` if it may.
        """
        if opens and self._requests and account.open >= self._requests:
            return f"{account.open} requests of this client are open, which is the limit"
        if not self._rate:
            return None
        account.tokens = self._tokens(account, now)
        account.since = now
        if account.tokens < 1:
            return f"this client may send {self._rate:g} requests a second, {self._burst} at once"
        account.tokens -= 1
        return None

    def gone(self, client: Hashable) -> None:
        """Drop the account of a client that is gone; another client may come under the same name."""
        self._accounts.pop(client, None)

    def _tokens(self, account: Account, now: float) -> float:
        return min(account.tokens + (now - account.since) * self._rate, self._burst)

    def _forgetSome(self, now: float) -> None:
        for _ in range(min(CHECKED, len(self._accounts))):
            client, account = next(iter(self._accounts.items()))
            if account.open or (self._rate and self._tokens(account, now) < self._burst):
                # It is checked again when all others have been.
                self._accounts.move_to_end(client)
            else:
                del self._accounts[client]


class RequestFilter:
    """
    Checks every request, if there is a limit or a rule for requests at all.

    :param quota: how much each client may send; ``None``: any number of requests.
    :param allow: ``allowRequest`` of the hooks; ``None``: every request is allowed.
    """

    def __init__(self, quota: Quota | None, allow: Callable[[RequestFacts], Any] | None) -> None:
        self._quota = quota
        self._allow = allow

    def admit(self, request: Request, sender: Sender, now: float) -> tuple[Code, str] | None:
        """
        Return why a request is refused; ``None`` if it is not.

        Commands other than ``request`` count towards the rate alone.
        """
        user = sender.userId()
        opens = request.command == "request"
        if self._quota is not None:
            client = user or sender.connection()
            # If the transport does not know the connection, there is still the routing id.
            account = self._quota.account(request.route[0] if client is None else client, now)
            refusal = self._quota.takeToken(account, now, opens)
            if refusal is not None:
                return Code.BUSY, refusal
            request.account = account
        if self._allow is not None and opens:
            verdict = self._allow(RequestFacts(sender.address(), user, request.service, request.size()))
            if verdict is False or isinstance(verdict, str):
                return Code.DENIED, verdict or "it is not allowed"
        return None

    def gone(self, connection: int) -> None:
        """Drop the account of a client whose connection is closed."""
        if self._quota is not None:
            self._quota.gone(connection)


def makeRequestFilter(peerLimits: PeerLimits, allow: Callable[[RequestFacts], Any] | None) -> RequestFilter | None:
    """Return a filter for some limits and a rule; ``None`` if there are none, so that requests do not pay for it."""
    quota = (
        Quota(peerLimits.clientRequests, peerLimits.rate, peerLimits.burst)
        if peerLimits.clientRequests or peerLimits.rate
        else None
    )
    return RequestFilter(quota, allow) if quota is not None or allow is not None else None
