"""What the broker counts."""

from __future__ import annotations

from pirate.wire.words import Code


class Tally:
    """
    Counts of what happened since the start.

    :ivar received: requests, accepted or refused.
    :ivar replied: answers of the app.
    :ivar failed: requests given up, by code.
    :ivar redispatched: requests moved from a dead worker to another.
    :ivar late: answers to requests that their sender did not hold, or that were answered already.
    :ivar undeliverable: replies and errors whose client had gone.
    """

    __slots__ = ("failed", "late", "received", "redispatched", "replied", "undeliverable")

    def __init__(self) -> None:
        self.received = self.replied = self.redispatched = self.late = self.undeliverable = 0
        self.failed: dict[Code, int] = {}
