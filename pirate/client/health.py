"""Whether connections still answer: where there are several endpoints, a silent one is pinged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from pirate.client.call import Call
from pirate.client.route import Route
from pirate.client.routes import Routes
from pirate.wire.frontend import header

#: Seconds of silence after which a connection with calls in hand is pinged, if there are others.
PING_AFTER = 1.0
#: Seconds after which a connection that has not answered a ping is not trusted.
PING_PATIENCE = 0.5

_NEVER = float("inf")


class Health:
    """
    Pings what is silent, and suspects what does not answer that either.

    :param newId: makes the id of a ping, 16 bytes.
    :ivar next: when ``examine`` is to be called; infinite if there is nothing to wait for.
    """

    def __init__(self, routes: Routes, newId: Callable[[], bytes]) -> None:
        self._routes = routes
        self._newId = newId
        self.next = _NEVER

    def begin(self, now: float) -> None:
        """A call was sent."""
        if self._routes.several and self.next == _NEVER:
            self.next = now + PING_PATIENCE

    def heard(self, route: Route, now: float) -> None:
        """Something has come, which is as good as the answer to a ping."""
        route.heard = now
        if route.suspect or route.silent or route.pinged is not None:
            route.suspect = route.silent = False
            route.pinged = None

    def examine(self, calls: Collection[Call], now: float) -> Iterator[Route]:
        """
        Look at the connections that are silent with calls in hand.

        :param calls: all that have not ended.
        :return: those that have become suspect, each to be relieved of its calls at once.
        """
        for route in self._routes:
            if not route.inHand or not route.ready:
                continue
            if route.pinged is not None and now >= route.pinged + PING_PATIENCE:
                route.suspect = True
                yield route
                route.pinged = None
            if route.pinged is None and now >= _quietSince(route, calls) + PING_AFTER:
                route.pinged = now
                route.connection.send([header(self._newId(), {"command": "ping"}), b"", b""])
        self.next = now + PING_PATIENCE / 2 if calls else _NEVER


def _quietSince(route: Route, calls: Collection[Call]) -> float:
    """Since when a connection has owed an answer."""
    oldest = min((call.sentAt for call in calls if call.route is route), default=_NEVER)
    return max(route.heard, oldest)
