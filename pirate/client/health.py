"""Whether connections still answer: where there are several endpoints, a silent one is pinged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from pirate.client.call import Call
from pirate.client.peer import Peer
from pirate.client.peers import PeerSet
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

    def __init__(self, peers: PeerSet, newId: Callable[[], bytes]) -> None:
        self._routes = peers
        self._newId = newId
        self.next = _NEVER

    def begin(self, now: float) -> None:
        """A call was sent."""
        if self._routes.several and self.next == _NEVER:
            self.next = now + PING_PATIENCE

    def heard(self, peer: Peer, now: float) -> None:
        """Something has come, which is as good as the answer to a ping."""
        peer.heard = now
        if peer.suspect or peer.silent or peer.pinged is not None:
            peer.suspect = peer.silent = False
            peer.pinged = None

    def examine(self, calls: Collection[Call], now: float) -> Iterator[Peer]:
        """
        Look at the connections that are silent with calls in hand.

        :param calls: all that have not ended.
        :return: those that have become suspect, each to be relieved of its calls at once.
        """
        for peer in self._routes:
            if not peer.inFlight or not peer.ready:
                continue
            if peer.pinged is not None and now >= peer.pinged + PING_PATIENCE:
                peer.suspect = True
                yield peer
                peer.pinged = None
            if peer.pinged is None and now >= _quietSince(peer, calls) + PING_AFTER:
                peer.pinged = now
                peer.connection.send([header(self._newId(), {"command": "ping"}), b"", b""])
        self.next = now + PING_PATIENCE / 2 if calls else _NEVER


def _quietSince(peer: Peer, calls: Collection[Call]) -> float:
    """Since when a connection has owed an answer."""
    oldest = min((call.sentAt for call in calls if call.peer is peer), default=_NEVER)
    return max(peer.heard, oldest)
