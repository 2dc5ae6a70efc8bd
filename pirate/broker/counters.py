"""The broker's counters."""

from __future__ import annotations

from pirate.wire.words import Code


class Counters:
    """
    Counts of what has happened since the start.

    Every request that was received ends up in one of ``replied``, ``failed``, ``joined``, ``remembered`` and
    ``withdrawn``; until then it waits or is in flight.

    :ivar received: requests, accepted or refused.
    :ivar replied: replies of the app.
    :ivar failed: requests given up, by code.
    :ivar joined: requests that were sent again while the first was waiting or in flight.
    :ivar remembered: requests that were sent again after the first had been replied to.
    :ivar withdrawn: requests whose client had gone, or, if plain, had sent another, before a worker was free.
    :ivar redispatched: requests moved from a lost worker to another.
    :ivar forgotten: outcomes that were dropped from the reply cache before their time, for lack of room.
    :ivar overflowed: plain requests given up because of the backlog or their client's share; ``failed`` has them too.
    :ivar late: replies to requests that their sender did not hold, or that had been replied to already.
    :ivar undeliverable: replies, parts and errors whose client had gone, or did not read them.
    """

    __slots__ = (
        "failed",
        "forgotten",
        "joined",
        "late",
        "overflowed",
        "received",
        "redispatched",
        "remembered",
        "replied",
        "undeliverable",
        "withdrawn",
    )

    def __init__(self) -> None:
        self.received = self.replied = self.joined = self.remembered = self.withdrawn = 0
        self.redispatched = self.forgotten = self.late = self.overflowed = self.undeliverable = 0
        self.failed: dict[Code, int] = {}
