"""Dropping the rest of a message without a Python call for each of its frames."""

from __future__ import annotations

from secrets import token_hex
from signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals
from typing import Any

import zmq
from zmq import backend

#: pyzmq's loop in C; ``None`` where there is none, as before pyzmq 26 and on PyPy.
monitored_queue: Any = getattr(backend, "monitored_queue", None)
#: A subscription that matches no frame of a peer, and the prefix of announcements that never fit.
_NOTHING, _FULL = token_hex(32).encode(), b"full"
#: Milliseconds that a subscription may take to arrive; within one process it takes none.
_ARRIVAL = 1000


def discardRest(socket: Any) -> bool:
    """
    Drop the rest of a message whose beginning has been read.

    Until the last frame of a message is read, a socket yields nothing else.  From Python a frame costs 0.7
    microseconds, because only a frame object tells whether it is the last.  ``monitored_queue`` moves frames in C: it
    relays each message to a second socket, and announces it on a third before it reads it.  Here both are publishers
    without a subscriber to what they are sent, so they drop it; and the announcement of the next message finds the
    queue full, so that message stays where it is.

    :param socket: a socket in the middle of a message.
    :return: ``False`` if nothing was dropped, because pyzmq has no ``monitored_queue`` in C, or because no file
        descriptors are left.
    """
    if monitored_queue is None:
        return False
    context = socket.context
    others: list[Any] = []
    try:
        for _ in range(2):
            endpoint = f"inproc://pirate-discard-{token_hex(8)}"
            for kind in (zmq.XPUB, zmq.SUB):
                others.append(context.socket(kind))
                others[-1].linger = 0
            publisher, subscriber = others[-2:]
            publisher.sndtimeo, publisher.sndhwm, subscriber.rcvhwm = 0, 1, 1
            publisher.set(zmq.XPUB_NODROP, 1)
            publisher.bind(endpoint)
            subscriber.connect(endpoint)
        relay, relaySubscriber, announcer, announcerSubscriber = others
        relaySubscriber.subscribe(_NOTHING)
        announcerSubscriber.subscribe(_FULL)
        # The relay always has something to read, so monitored_queue never waits for it.
        if not (relay.poll(_ARRIVAL) and announcer.poll(_ARRIVAL)):
            return False
        announcer.recv()
        _fill(announcer)
        _relayOne(socket, relay, announcer)
        return True
    except zmq.ZMQError:
        return False
    finally:
        for each in others:
            each.close()


def _fill(announcer: Any) -> None:
    """Fill the queue of announcements."""
    try:
        while True:
            announcer.send(_FULL)
    except zmq.Again:
        pass


def _relayOne(socket: Any, relay: Any, announcer: Any) -> None:
    """Relay one message to nowhere."""
    # After a signal pyzmq would start again, possibly with the next message.
    mask = pthread_sigmask(SIG_BLOCK, valid_signals())
    try:
        monitored_queue(socket, relay, announcer, b"rest", _FULL)
    except zmq.Again:
        pass
    finally:
        pthread_sigmask(SIG_SETMASK, mask)
