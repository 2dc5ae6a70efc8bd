"""Apps on Twisted's reactor.  Try one: twistd -n pirate --app deferredapps.ring --loop twisted --concurrency 100"""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater


def ring(bell: bytes) -> Deferred[bytes]:
    """A function that returns a Deferred."""
    return deferLater(reactor, 0.05, lambda: bell + b"!")


async def ringTwice(bell: bytes) -> bytes:
    """A coroutine function that awaits Deferreds."""
    return await ring(await ring(bell))
