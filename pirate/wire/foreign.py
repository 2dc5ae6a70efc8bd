"""Other protocols of the ZeroMQ guide, which are recognized so that the log can name them."""

from __future__ import annotations

from pirate.wire.words import Frames

#: The names of foreign peers for the log, by the words that :func:`recognize` returns.
FOREIGN = {
    "majordomo-client": "a Majordomo client",
    "majordomo-worker": "a Majordomo worker",
    "paranoid-pirate": "a Paranoid Pirate worker",
    "simple-pirate": "a Simple Pirate worker of the guide",
    "hashmap-client": "a client of the Clustered Hashmap Protocol",
}

#: The first words of Majordomo's messages, which may also be meant for an app.
MAJORDOMO = {
    b"MDPC01": "majordomo-client",
    b"MDPC02": "majordomo-client",
    b"MDPW01": "majordomo-worker",
    b"MDPW02": "majordomo-worker",
}
_HASHMAP = frozenset({b"ICANHAZ?", b"HUGZ", b"KTHXBAI"})
#: The words of a Paranoid Pirate worker that is ready, and of one that is alive.
_READY, _ALIVE = frozenset({b"\x01", b"READY"}), b"\x02"


def recognize(frames: Frames) -> str:
    """
    Recognize which other protocol a message belongs to.

    :param frames: as a ROUTER gives them.
    :return: a key of ``FOREIGN``; empty if it is none of these.
    """
    at = 2 if len(frames) > 2 and not len(frames[1]) else 1
    if len(frames) <= at or len(frames[at]) > 8:
        return ""
    word, single = bytes(frames[at]), len(frames) == at + 1
    if word in MAJORDOMO:
        return MAJORDOMO[word]
    if word in _HASHMAP:
        return "hashmap-client"
    if single and at == 1 and (word in _READY or word == _ALIVE):
        return "paranoid-pirate"
    if single and word in _READY:
        return "simple-pirate"
    return ""
