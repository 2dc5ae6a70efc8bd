"""How many workers there are, what a request can count on, and what a peer may send: each is a part of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pirate.errors import ConfigurationError
from pirate.settings.table import AdjustableDefault, check, optionName, setting
from pirate.settings.types import (
    COUNT,
    FRAME_MIB,
    HEARTBEAT_SECONDS,
    INTERVAL,
    MIB,
    POLICY,
    POSITIVE,
    POSITIVE_HEARTBEAT,
    POSITIVE_MIB,
    POSITIVE_SECONDS,
    RATE,
    SECONDS,
    SHARE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """
    How many workers live, and how long: Net::Server::PreFork's options, checked on construction.

    A default that contradicts what was given moves out of the way; two given values that contradict each other are
    refused.

    :raise ConfigurationError: naming the settings and their values.
    """

    minServers: int = setting(AdjustableDefault(5), COUNT, "workers kept alive at least")
    maxServers: int = setting(AdjustableDefault(50), COUNT, "workers alive at most")
    minSpareServers: int = setting(AdjustableDefault(2), COUNT, "idle workers below which more are started")
    maxSpareServers: int = setting(AdjustableDefault(10), COUNT, "idle workers above which some are retired")
    maxRequests: int = setting(1000, COUNT, "requests after which a worker is replaced; 0: never")
    maxRequestsJitter: int = setting(
        AdjustableDefault(100),
        COUNT,
        "requests, at most, added at random to each worker's max-requests; default a tenth of it",
    )
    maxMemory: float = setting(0.0, MIB, "resident memory beyond which a worker is replaced; 0: any")
    maxAge: float = setting(0.0, SECONDS, "age at which a worker is replaced, give or take a tenth; 0: never")
    checkForWaiting: float = setting(10.0, INTERVAL, "least time between two scale-downs, and between checks")
    minChildTtl: float = setting(10.0, SECONDS, "no scale-down within this time after a worker was started")
    checkForDead: float = setting(30.0, INTERVAL, "time between sweeps for workers that died unnoticed")
    checkForDequeue: float = setting(0.0, SECONDS, "time between runs of the dequeue callable; 0: never")
    maxDequeue: int = setting(1, POSITIVE, "dequeue workers alive at most")
    dequeueTimeout: float = setting(3600.0, SECONDS, "time after which a dequeue worker is stopped; 0: never")
    startTimeout: float = setting(30.0, POSITIVE_SECONDS, "time in which a new worker must be ready, or is killed")
    reloadTimeout: float = setting(
        300.0, SECONDS, "grace of a worker that is replaced for what it holds; then TERM, ABRT, KILL; 0: for ever"
    )
    stopTimeout: float = setting(30.0, SECONDS, "grace for the work in hand when stopping; then TERM, then KILL")

    def __post_init__(self) -> None:
        check(self)
        self._makeRoom()
        self._refuse("minServers", "maxServers")
        self._refuse("minSpareServers", "maxSpareServers")
        self._refuse("minSpareServers", "maxServers")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, AdjustableDefault):
                self._move(each.name, int(value))

    def changed(self, changes: Mapping[str, Any]) -> PoolLimits:
        """
        The same with some fields changed; the numbers of spare servers that were not given make room.

        :raise ConfigurationError: if the changes contradict each other or what they leave.
        """
        spare = {name: AdjustableDefault(getattr(self, name)) for name in ("minSpareServers", "maxSpareServers")}
        return replace(self, **{**spare, **changes})

    def resized(self, by: int) -> PoolLimits:
        """
        The same with more or fewer servers; the numbers of spare servers give way.

        :param by: added to both ``minServers``, which stays at least 0, and ``maxServers``, which stays at least 1
            unless it is 0 already.
        """
        most = max(self.maxServers + by, min(self.maxServers, 1))
        spare = min(self.maxSpareServers, most)
        return replace(
            self,
            minServers=min(max(self.minServers + by, 0), most),
            maxServers=most,
            maxSpareServers=spare,
            minSpareServers=min(self.minSpareServers, spare),
        )

    def _makeRoom(self) -> None:
        """Move the defaults that were not given: servers first, then spare servers, which stay within them."""
        if isinstance(self.maxServers, AdjustableDefault):
            self._move("maxServers", max(self.maxServers, self.minServers, self.minSpareServers))
        if isinstance(self.minServers, AdjustableDefault):
            self._move("minServers", min(self.minServers, self.maxServers))
        if isinstance(self.maxSpareServers, AdjustableDefault):
            given = 0 if isinstance(self.minSpareServers, AdjustableDefault) else self.minSpareServers
            self._move("maxSpareServers", max(min(self.maxSpareServers, self.maxServers - 1), given, 0))
        if isinstance(self.minSpareServers, AdjustableDefault):
            self._move("minSpareServers", min(self.minSpareServers, self.minServers, self.maxSpareServers))
        if isinstance(self.maxRequestsJitter, AdjustableDefault):
            self._move("maxRequestsJitter", self.maxRequests // 10)

    def _move(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value)

    def _refuse(self, less: str, more: str) -> None:
        if getattr(self, less) > getattr(self, more):
            raise ConfigurationError(
                f"{optionName(less)} ({getattr(self, less)}) must not exceed {optionName(more)} ({getattr(self, more)})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """
    What a request can count on, checked on construction.

    :raise ConfigurationError: naming the setting and its value.
    """

    maxAttempts: int = setting(3, POSITIVE, "workers that may die of a request before it is given up")
    requestTimeout: float = setting(
        0.0, SECONDS, "time in which a request must be begun if its client names none; 0: any"
    )
    jobTimeout: float = setting(0.0, SECONDS, "time after which a job is stopped together with its worker; 0: never")
    jobSoftTimeout: float = setting(0.0, SECONDS, "time after which JobTimeout is raised in the app; 0: never")
    deliveryTimeout: float = setting(
        30.0, POSITIVE_SECONDS, "silence after which a worker is asked whether it is there"
    )
    cancelKills: float = setting(0.0, SECONDS, "grace of a cancelled job before its worker is stopped; 0: for ever")
    backlog: int = setting(10_000, POSITIVE, "requests that may wait")
    backlogMib: float = setting(256.0, POSITIVE_MIB, "size of all that may wait")
    backlogPolicy: str = setting("wait", POLICY, "what happens beyond that: wait (read no more) or reject (busy)")
    clientShare: float = setting(
        0.5, SHARE, "how much of the backlog one client may fill: beyond it, it is told busy, or held back"
    )
    remember: float = setting(60.0, SECONDS, "time for which the answers to native clients are remembered; 0: not")
    rememberEntries: int = setting(0, COUNT, "answers remembered at most; 0: as many as remember-mib has room for")
    rememberMib: float = setting(64.0, MIB, "memory for the answers remembered; the oldest go first")

    def __post_init__(self) -> None:
        check(self)
        if self.jobTimeout and self.jobSoftTimeout >= self.jobTimeout:
            raise ConfigurationError(
                f"job-soft-timeout ({self.jobSoftTimeout:g}) must be less than job-timeout ({self.jobTimeout:g})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """
    What a peer may send, and how much a client may ask, checked on construction.

    A client is a user, where CURVE tells who that is, and a connection where it does not.

    :raise ConfigurationError: naming the settings and their values.
    """

    maxMessageSize: float = setting(
        64.0, FRAME_MIB, "size of one frame; a larger one is refused, or its connection closed"
    )
    maxMessageFrames: int = setting(1024, POSITIVE, "frames of one message; one that has more is refused")
    maxMessageTotal: float = setting(256.0, POSITIVE_MIB, "size of all frames of one message; a larger one is refused")
    maxConnections: int = setting(0, COUNT, "connections of each socket; 0: as many as leave some open files to spare")
    clientRequests: int = setting(0, COUNT, "requests of one client that wait or are worked on; 0: any")
    rate: float = setting(0.0, RATE, "requests of one client, on average; 0: any")
    burst: int = setting(
        AdjustableDefault(1), POSITIVE, "requests of one client at once within its rate; default a second's worth"
    )
    handshakeTimeout: float = setting(5.0, POSITIVE_HEARTBEAT, "time that a peer has to say who it is")
    heartbeat: float = setting(
        0.0,
        HEARTBEAT_SECONDS,
        "time between ZMTP heartbeats to clients on TCP; 0: none, which every client can live with",
    )

    def __post_init__(self) -> None:
        check(self)
        if isinstance(self.burst, AdjustableDefault):
            object.__setattr__(self, "burst", max(round(self.rate), 1))
        elif not self.rate:
            raise ConfigurationError(f"burst ({self.burst}) needs a rate, which is 0")
