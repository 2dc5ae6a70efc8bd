"""The connections of a session, and which of them is the best for a call."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pirate.client.call import Call
from pirate.client.route import Connection, Route

#: The most plain connections to one endpoint: each takes one call at a time.
MAX_LANES = 64


class Routes(list[Route]):
    """
    All connections, in the order in which they were added.

    :param plain: whether a connection has one call in hand at a time.
    :param random: to choose among equals.
    :ivar several: whether there is more than one endpoint.
    :ivar widen: called with an endpoint to which a plain session wants one more connection; ``add`` is to be called.
    """

    def __init__(self, plain: bool, random: Random) -> None:
        super().__init__()
        self._plain = plain
        self._random = random.random
        self.several = False
        self.widen: Callable[[str], object] = lambda endpoint: None

    def add(self, endpoint: str, connection: Connection) -> Route:
        """There is one more connection, not ready yet."""
        route = Route(endpoint, connection)
        self.append(route)
        self.several = len({each.endpoint for each in self}) > 1
        return route

    @property
    def denied(self) -> bool:
        """Whether no server lets us in."""
        return bool(self) and all(route.denied for route in self)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to any server."""
        return any(route.connected for route in self)

    def choose(self, call: Call, but: Route | None = None) -> Route | None:
        """
        The best connection for a call; one that was silent is replaced first, and not ready then.

        :param but: what to choose only if there is nothing else.
        """
        best = None
        if len(self) == 1 and not self._plain and not call.refused:
            # The usual case, without the work.
            route = self[0]
            if (route.silent or route.denied) and not route.inHand:
                self.replace(route)
            return route if route.ready else None
        for route in self:
            if (route.silent or route.denied) and not route.inHand:
                self.replace(route)
            if not route.ready or (self._plain and route.inHand) or (call.refused and route in call.refused):
                continue
            if best is None or self._rank(route, but) < self._rank(best, but):
                best = route
        return best

    def _rank(self, route: Route, but: Route | None) -> tuple[bool, bool, int, float]:
        return (route.suspect or route.stopping, route is but, route.inHand, self._random())

    def replace(self, route: Route) -> None:
        """Have a connection opened anew: ZeroMQ does not try again by itself where it was not let in."""
        route.ready = route.connected = route.silent = route.denied = False
        route.limits = None
        route.connection.reopen()

    def makeRoom(self, waiting: int) -> None:
        """Plain calls wait: have a connection for each, unless it is on its way."""
        coming = sum(1 for route in self if not route.ready)
        for endpoint in dict.fromkeys(route.endpoint for route in self):
            lanes = [route for route in self if route.endpoint == endpoint]
            if coming < waiting and len(lanes) < MAX_LANES and any(route.ready for route in lanes):
                self.widen(endpoint)
                coming += 1
