"""Whether a client may ask what it asks: by its quota, and by the application's own rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.broker.interfaces import Sender
from pirate.broker.quota import Quota
from pirate.broker.request import NativeRequest, Request
from pirate.hooks import RequestContext
from pirate.settings.limits import PeerLimits
from pirate.wire.words import Code


class RequestFilter:
    """
    The one place that every request passes, if there is a rule for requests at all.

    :param quota: how much each client may ask; ``None``: anything.
    :param allow: ``allowRequest`` of the hooks; ``None``: everything is allowed.
    """

    def __init__(self, quota: Quota | None, allow: Callable[[RequestContext], Any] | None) -> None:
        self._quota = quota
        self._allow = allow

    def refusal(self, request: Request, sender: Sender, now: float) -> tuple[Code, str] | None:
        """
        Why a request is refused; ``None`` if it is not.

        Commands other than ``request`` count for the rate alone.
        """
        user = sender.userId()
        opens = not isinstance(request, NativeRequest) or request.command == "request"
        if self._quota is not None:
            client = user or sender.connection()
            # Where the transport knows of no connections, there is still the routing id.
            account = self._quota.account(request.route[0] if client is None else client, now)
            refusal = self._quota.refusal(account, now, opens)
            if refusal is not None:
                return Code.BUSY, refusal
            request.account = account
        if self._allow is not None and opens:
            verdict = self._allow(RequestContext(sender.address(), user, request.service, request.size()))
            if verdict is False or isinstance(verdict, str):
                return Code.DENIED, verdict or "it is not allowed"
        return None

    def gone(self, connection: int) -> None:
        """A client's connection has been closed."""
        if self._quota is not None:
            self._quota.gone(connection)


def makeRequestFilter(peerLimits: PeerLimits, allow: Callable[[RequestContext], Any] | None) -> RequestFilter | None:
    """The gate for some bounds and a rule; ``None`` if there are neither, so that requests do not pay for it."""
    quota = (
        Quota(peerLimits.clientRequests, peerLimits.rate, peerLimits.burst)
        if peerLimits.clientRequests or peerLimits.rate
        else None
    )
    return RequestFilter(quota, allow) if quota is not None or allow is not None else None
