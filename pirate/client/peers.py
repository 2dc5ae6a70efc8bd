"""The connections of a session, and which of them is the best for a call."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pirate.client.call import Call
from pirate.client.peer import MessageSink, Peer

#: The most plain connections to one endpoint: each takes one call at a time.
MAX_LANES = 64


class PeerSet(list[Peer]):
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

    def add(self, endpoint: str, connection: MessageSink) -> Peer:
        """There is one more connection, not ready yet."""
        peer = Peer(endpoint, connection)
        self.append(peer)
        self.several = len({each.endpoint for each in self}) > 1
        return peer

    @property
    def denied(self) -> bool:
        """Whether no server lets us in."""
        return bool(self) and all(peer.denied for peer in self)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to any server."""
        return any(peer.connected for peer in self)

    def choose(self, call: Call, but: Peer | None = None) -> Peer | None:
        """
        The best connection for a call; one that was silent is replaced first, and not ready then.

        :param but: what to choose only if there is nothing else.
        """
        best = None
        if len(self) == 1 and not self._plain and not call.refused:
            # The usual case, without the work.
            peer = self[0]
            if (peer.silent or peer.denied) and not peer.inFlight:
                self.replace(peer)
            return peer if peer.ready else None
        for peer in self:
            if (peer.silent or peer.denied) and not peer.inFlight:
                self.replace(peer)
            if not peer.ready or (self._plain and peer.inFlight) or (call.refused and peer in call.refused):
                continue
            if best is None or self._rank(peer, but) < self._rank(best, but):
                best = peer
        return best

    def _rank(self, peer: Peer, but: Peer | None) -> tuple[bool, bool, int, float]:
        return (peer.suspect or peer.stopping, peer is but, peer.inFlight, self._random())

    def replace(self, peer: Peer) -> None:
        """Have a connection opened anew: ZeroMQ does not try again by itself where it was not let in."""
        peer.ready = peer.connected = peer.silent = peer.denied = False
        peer.limits = None
        peer.connection.reopen()

    def makeRoom(self, waiting: int) -> None:
        """Plain calls wait: have a connection for each, unless it is on its way."""
        coming = sum(1 for peer in self if not peer.ready)
        for endpoint in dict.fromkeys(peer.endpoint for peer in self):
            lanes = [peer for peer in self if peer.endpoint == endpoint]
            if coming < waiting and len(lanes) < MAX_LANES and any(peer.ready for peer in lanes):
                self.widen(endpoint)
                coming += 1
