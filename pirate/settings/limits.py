"""The limits of the pool, the policy for requests, and the limits of peers: three groups of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pirate.errors import ConfigurationError
from pirate.settings.table import AdjustableDefault, checkValues, optionName, setting
from pirate.settings.types import (
    COUNT,
    FRAME_MIB,
    INTERVAL,
    MIB,
    POLICY,
    POSITIVE,
    POSITIVE_MIB,
    POSITIVE_SECONDS,
    POSITIVE_ZMQ_SECONDS,
    RATE,
    SECONDS,
    SHARE,
    ZMQ_SECONDS,
)

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """
    The limits of the number of workers and of their lives: the options of Net::Server::PreFork, and more.

    A default gives way to the values that are set; two set values that contradict each other are an error.

    :raise ConfigurationError: naming the settings and their values.
    """

    minServers: int = setting(AdjustableDefault(5), COUNT, "Keep at least this many workers alive.")
    maxServers: int = setting(AdjustableDefault(50), COUNT, "Keep at most this many workers alive.")
    minSpareServers: int = setting(
        AdjustableDefault(2), COUNT, "Start more workers when fewer than this many are idle."
    )
    maxSpareServers: int = setting(AdjustableDefault(10), COUNT, "Retire workers when more than this many are idle.")
    maxRequests: int = setting(0, COUNT, "Replace a worker after this many requests; 0 for never.")
    maxRequestsJitter: int = setting(
        AdjustableDefault(0),
        COUNT,
        "Add up to this many requests at random to each worker's max-requests; a tenth of it unless set.",
    )
    maxMemory: float = setting(
        0.0, MIB, "Replace a worker whose resident memory exceeds this many MiB; 0 for no limit."
    )
    maxAge: float = setting(
        0.0, SECONDS, "Replace a worker after this many seconds, give or take a tenth; 0 for never."
    )
    checkForWaiting: float = setting(
        10.0, INTERVAL, "Seconds between two checks of the pool; also the least time between two scale-downs."
    )
    minChildTtl: float = setting(
        10.0, SECONDS, "Seconds after the start of a worker during which the pool does not shrink."
    )
    checkForDead: float = setting(
        30.0, INTERVAL, "Seconds between two sweeps for workers whose death has gone unnoticed."
    )
    checkForDequeue: float = setting(0.0, SECONDS, "Seconds between two runs of the dequeue callable; 0 for never.")
    maxDequeue: int = setting(1, POSITIVE, "Keep at most this many dequeue workers alive.")
    dequeueTimeout: float = setting(3600.0, SECONDS, "Stop a dequeue worker after this many seconds; 0 for never.")
    startTimeout: float = setting(
        30.0, POSITIVE_SECONDS, "Kill a new worker that is not ready after this many seconds."
    )
    reloadTimeout: float = setting(
        300.0,
        SECONDS,
        "Seconds allowed for a replaced worker to finish its requests, before TERM, ABRT and KILL; 0 for no limit.",
    )
    stopTimeout: float = setting(
        30.0, SECONDS, "Seconds allowed for accepted requests to finish when the server stops, before TERM and KILL."
    )

    def __post_init__(self) -> None:
        checkValues(self)
        self._adjustDefaults()
        self._requireAtMost("minServers", "maxServers")
        self._requireAtMost("minSpareServers", "maxSpareServers")
        self._requireAtMost("minSpareServers", "maxServers")
        # From now on these count as set, so a change that contradicts them is an error.  The jitter stays a default: it
        # follows ``maxRequests``.
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, AdjustableDefault) and each.name != "maxRequestsJitter":
                self._set(each.name, int(value))

    def changed(self, changes: Mapping[str, Any]) -> PoolLimits:
        """
        Return the limits with some fields changed.

        The numbers of spare servers adjust unless they are among them, and so does the jitter unless it has been set.

        :raise ConfigurationError: if the changes contradict each other, or the fields that stay.
        """
        spare = {name: AdjustableDefault(getattr(self, name)) for name in ("minSpareServers", "maxSpareServers")}
        return replace(self, **{**spare, **changes})

    def resized(self, by: int) -> PoolLimits:
        """
        Return the limits with more or fewer servers; the numbers of spare servers adjust.

        :param by: the number to add to ``minServers``, which stays 0 or more, and to ``maxServers``, which stays 1 or
            more unless it is 0 already.
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

    def _adjustDefaults(self) -> None:
        """Adjust the defaults to the values that are set: servers first, then spare servers, which stay within them."""
        if isinstance(self.maxServers, AdjustableDefault):
            self._set("maxServers", max(self.maxServers, self.minServers, self.minSpareServers))
        if isinstance(self.minServers, AdjustableDefault):
            self._set("minServers", min(self.minServers, self.maxServers))
        if isinstance(self.maxSpareServers, AdjustableDefault):
            given = 0 if isinstance(self.minSpareServers, AdjustableDefault) else self.minSpareServers
            self._set("maxSpareServers", max(min(self.maxSpareServers, self.maxServers - 1), given, 0))
        if isinstance(self.minSpareServers, AdjustableDefault):
            self._set("minSpareServers", min(self.minSpareServers, self.minServers, self.maxSpareServers))
        if isinstance(self.maxRequestsJitter, AdjustableDefault):
            self._set("maxRequestsJitter", AdjustableDefault(self.maxRequests // 10))

    def _set(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value)

    def _requireAtMost(self, less: str, more: str) -> None:
        if getattr(self, less) > getattr(self, more):
            raise ConfigurationError(
                f"{optionName(less)} ({getattr(self, less)}) must not exceed {optionName(more)} ({getattr(self, more)})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """
    The rules for requests: attempts, time limits, the backlog, and remembered replies.

    :raise ConfigurationError: naming the setting and its value.
    """

    maxAttempts: int = setting(3, POSITIVE, "Give up a request after this many workers have died while they held it.")
    requestTimeout: float = setting(
        0.0, SECONDS, "Seconds within which a request must start, if its client sets no limit; 0 for no limit."
    )
    jobTimeout: float = setting(
        0.0, SECONDS, "Stop a job, together with its worker, after this many seconds; 0 for never."
    )
    jobSoftTimeout: float = setting(
        0.0, SECONDS, "Raise SoftTimeout in the app when a job takes this many seconds; 0 for never."
    )
    deliveryTimeout: float = setting(
        30.0, POSITIVE_SECONDS, "Ask a worker for a sign of life after this many seconds of silence."
    )
    cancelGrace: float = setting(
        0.0, SECONDS, "Stop the worker of a cancelled job that still runs after this many seconds; 0 for never."
    )
    backlog: int = setting(10_000, POSITIVE, "Number of requests that may wait for a worker.")
    backlogMib: float = setting(256.0, POSITIVE_MIB, "MiB of requests that may wait for a worker.")
    backlogPolicy: Literal["wait", "reject"] = setting(
        "wait", POLICY, "When the backlog is full: wait (stop reading requests) or reject (reply busy)."
    )
    clientShare: float = setting(
        0.5, SHARE, "Share of the backlog that one client may fill before its requests are rejected or held back."
    )
    rememberSeconds: float = setting(
        60.0,
        SECONDS,
        "Seconds for which the server remembers replies to native clients, for retries; 0 for not at all.",
    )
    rememberEntries: int = setting(
        0, COUNT, "Number of replies that the server remembers; 0 for as many as remember-mib holds."
    )
    rememberMib: float = setting(64.0, MIB, "MiB of memory for remembered replies; the oldest are dropped first.")

    def __post_init__(self) -> None:
        checkValues(self)
        if self.jobTimeout and self.jobSoftTimeout >= self.jobTimeout:
            raise ConfigurationError(
                f"job-soft-timeout ({self.jobSoftTimeout:g}) must be less than job-timeout ({self.jobTimeout:g})"
            )

    @property
    def backlogBytes(self) -> int:
        """``backlogMib`` in bytes."""
        return int(self.backlogMib * _MIB)

    @property
    def rememberBytes(self) -> int:
        """``rememberMib`` in bytes."""
        return int(self.rememberMib * _MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """
    The limits of what peers may send.

    With CURVE the limits for one client apply to a user, without it to a connection.

    :raise ConfigurationError: naming the settings and their values.
    """

    maxMessageSize: float = setting(
        64.0, FRAME_MIB, "MiB of one frame; a larger frame is rejected, or its connection closed."
    )
    maxMessageFrames: int = setting(1024, POSITIVE, "Number of frames in one message; a message with more is rejected.")
    maxMessageTotal: float = setting(256.0, POSITIVE_MIB, "MiB of one message; a larger message is rejected.")
    maxConnections: int = setting(
        0, COUNT, "Number of connections to each socket; 0 for as many as the limit of open files permits."
    )
    clientRequests: int = setting(
        0, COUNT, "Number of requests that one client may have waiting or running; 0 for no limit."
    )
    rate: float = setting(0.0, RATE, "Requests per second that one client may send on average; 0 for no limit.")
    burst: int = setting(
        AdjustableDefault(1),
        POSITIVE,
        "Number of requests that one client may send at once within its rate; a second's worth unless set.",
    )
    handshakeTimeout: float = setting(
        5.0, POSITIVE_ZMQ_SECONDS, "Seconds within which a new connection must complete its handshake."
    )
    heartbeat: float = setting(
        0.0,
        ZMQ_SECONDS,
        "Seconds between ZMTP heartbeats to clients over TCP; 0 for none, which suits every client.",
    )

    def __post_init__(self) -> None:
        checkValues(self)
        if isinstance(self.burst, AdjustableDefault):
            # It stays a default, which follows the rate also in a changed copy.
            object.__setattr__(self, "burst", AdjustableDefault(max(round(self.rate), 1)))
        elif not self.rate:
            raise ConfigurationError(f"burst ({self.burst}) needs a rate, but rate is 0")

    @property
    def maxFrameBytes(self) -> int:
        """``maxMessageSize``, the limit of one frame, in bytes."""
        return int(self.maxMessageSize * _MIB)

    @property
    def maxMessageBytes(self) -> int:
        """``maxMessageTotal``, the limit of a message, in bytes."""
        return int(self.maxMessageTotal * _MIB)
