"""The environment of a client: its time, randomness and sockets."""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from random import Random
from time import monotonic

from pirate.client.connection import Dialer


class ClientEnvironment:
    """
    What a client needs of the outside world.

    A simulation has others, which repeat themselves.

    :ivar clock: returns the time in seconds.
    :ivar secret: returns a number of random bytes, which cannot be guessed.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], float] = monotonic
        self.secret: Callable[[int], bytes] = urandom

    def newRandom(self) -> Random:
        """Return a source of jitter."""
        return Random()

    def newDialer(self, plain: bool, identity: bytes | None, curve: tuple[bytes, bytes, bytes] | None) -> Dialer:
        """Return what opens the sockets; the parameters are those of :class:`~pirate.client.connection.Dialer`."""
        return Dialer(plain, identity, curve)
