"""
How much each client may ask: a share of what waits and is worked on, and a token bucket for the rate.

Each call takes the same time whatever the number of clients.  A client that has nothing open and a full bucket is no
different from one that was never seen, so it is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

#: Of the clients that have been quiet the longest, how many are looked at when another asks.
LOOKED_AT = 2


class Account:
    """
    One client's.

    :ivar open: its requests that wait or are worked on.
    :ivar tokens: how many more it may send at once.
    :ivar since: when that was so.
    """

    __slots__ = ("open", "since", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.open = 0
        self.tokens = tokens
        self.since = now


class Quota:
    """
    Every client's account.

    :param requests: how many requests of one client may wait or be worked on; 0: any number.
    :param rate: how many it may send in a second, on average; 0: any number.
    :param burst: how many of these at once.
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
        The account of a client that has just sent something.

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

    def refusal(self, account: Account, now: float, opens: bool = True) -> str | None:
        """
        Take a token for a message of a client.

        :param opens: whether the message is a request, which will be open.
        :return: why the client may not send it now; ``None`` if it may.
        """
        if opens and self._requests and account.open >= self._requests:
            return f"{account.open} requests of this client are open, and no more may be"
        if not self._rate:
            return None
        account.tokens = self._tokens(account, now)
        account.since = now
        if account.tokens < 1:
            return f"this client may send {self._rate:g} requests a second, {self._burst} at once"
        account.tokens -= 1
        return None

    def gone(self, client: Hashable) -> None:
        """A client will not come back under this name; another may."""
        self._accounts.pop(client, None)

    def _tokens(self, account: Account, now: float) -> float:
        return min(account.tokens + (now - account.since) * self._rate, self._burst)

    def _forgetSome(self, now: float) -> None:
        for _ in range(min(LOOKED_AT, len(self._accounts))):
            client, account = next(iter(self._accounts.items()))
            if account.open or (self._rate and self._tokens(account, now) < self._burst):
                # It has its turn again when the others have had theirs.
                self._accounts.move_to_end(client)
            else:
                del self._accounts[client]
