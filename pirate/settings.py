"""
The one table of settings: name, kind, default, unit and help of each, written once.

The command line, the checks, the run-time changes and the reference page are all made from the fields of L{Limits},
L{Terms}, L{Bounds} and L{Settings}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pirate.access import contradiction
from pirate.addresses import parseNetwork
from pirate.endpoints import isPublic, parseEndpoint
from pirate.errors import ConfigurationError
from pirate.kinds import (
    CONCURRENCY,
    COUNT,
    ENDPOINTS,
    FILE,
    INTERVAL,
    KEYS,
    LEVEL,
    LOOP,
    MIB,
    NETWORKS,
    PATH,
    POLICY,
    PREFETCH,
    RATE,
    SECONDS,
    SOME,
    SOME_MIB,
    SOME_SECONDS,
    SWITCH,
    THREADS,
    Kind,
    fullPath,
)


class Movable(int):
    """A default that may still move, because the settings that were given leave no room for it."""


def _setting(default: Any, kind: Kind, help: str) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How many workers live, and how long: Net::Server::PreFork's options, checked on construction.

    A default that contradicts what was given moves out of the way; two given values that contradict each other are
    refused.

    :raise ConfigurationError: naming the settings and their values.
    """

    minServers: int = _setting(Movable(5), COUNT, "workers kept alive at least")
    maxServers: int = _setting(Movable(50), COUNT, "workers alive at most")
    minSpareServers: int = _setting(Movable(2), COUNT, "idle workers below which more are started")
    maxSpareServers: int = _setting(Movable(10), COUNT, "idle workers above which some are retired")
    maxRequests: int = _setting(1000, COUNT, "requests after which a worker is replaced; 0: never")
    maxRequestsJitter: int = _setting(
        Movable(100), COUNT, "requests, at most, added at random to each worker's max-requests; default a tenth of it"
    )
    maxMemory: float = _setting(0.0, MIB, "resident memory beyond which a worker is replaced; 0: any")
    maxAge: float = _setting(0.0, SECONDS, "age at which a worker is replaced, give or take a tenth; 0: never")
    checkForWaiting: float = _setting(10.0, INTERVAL, "least time between two scale-downs, and between checks")
    minChildTtl: float = _setting(10.0, SECONDS, "no scale-down within this time after a worker was started")
    checkForDead: float = _setting(30.0, INTERVAL, "time between sweeps for workers that died unnoticed")
    checkForDequeue: float = _setting(0.0, SECONDS, "time between runs of the dequeue callable; 0: never")
    maxDequeue: int = _setting(1, SOME, "dequeue workers alive at most")
    startTimeout: float = _setting(30.0, SOME_SECONDS, "time in which a new worker must be ready, or is killed")
    stopTimeout: float = _setting(30.0, SECONDS, "grace for the work in hand when stopping; then TERM, then KILL")

    def __post_init__(self) -> None:
        _check(self)
        self._makeRoom()
        self._refuse("minServers", "maxServers")
        self._refuse("minSpareServers", "maxSpareServers")
        self._refuse("minSpareServers", "maxServers")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Movable):
                self._move(each.name, int(value))

    def changed(self, changes: Mapping[str, Any]) -> Limits:
        """
        The same with some fields changed; the numbers of spare servers that were not given make room.

        :raise ConfigurationError: if the changes contradict each other or what they leave.
        """
        spare = {name: Movable(getattr(self, name)) for name in ("minSpareServers", "maxSpareServers")}
        return replace(self, **{**spare, **changes})

    def resized(self, by: int) -> Limits:
        """
        The same with more or fewer servers; the numbers of spare servers give way.

        :param by: added to both C{minServers}, which stays at least 0, and C{maxServers}, which stays at least 1
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
        if isinstance(self.maxServers, Movable):
            self._move("maxServers", max(self.maxServers, self.minServers, self.minSpareServers))
        if isinstance(self.minServers, Movable):
            self._move("minServers", min(self.minServers, self.maxServers))
        if isinstance(self.maxSpareServers, Movable):
            given = 0 if isinstance(self.minSpareServers, Movable) else self.minSpareServers
            self._move("maxSpareServers", max(min(self.maxSpareServers, self.maxServers - 1), given, 0))
        if isinstance(self.minSpareServers, Movable):
            self._move("minSpareServers", min(self.minSpareServers, self.minServers, self.maxSpareServers))
        if isinstance(self.maxRequestsJitter, Movable):
            self._move("maxRequestsJitter", self.maxRequests // 10)

    def _move(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value)

    def _refuse(self, less: str, more: str) -> None:
        if getattr(self, less) > getattr(self, more):
            raise ConfigurationError(
                f"{optionName(less)} ({getattr(self, less)}) must not exceed {optionName(more)} ({getattr(self, more)})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """
    What a request can count on, checked on construction.

    :raise ConfigurationError: naming the setting and its value.
    """

    maxAttempts: int = _setting(3, SOME, "workers that may die of a request before it is given up")
    requestTimeout: float = _setting(
        0.0, SECONDS, "time in which a request must be begun if its client names none; 0: any"
    )
    jobTimeout: float = _setting(0.0, SECONDS, "time after which a job is stopped together with its worker; 0: never")
    jobSoftTimeout: float = _setting(0.0, SECONDS, "time after which JobTimeout is raised in the app; 0: never")
    deliveryTimeout: float = _setting(30.0, SOME_SECONDS, "silence after which a worker is asked whether it is there")
    cancelKills: float = _setting(0.0, SECONDS, "grace of a cancelled job before its worker is stopped; 0: for ever")
    backlog: int = _setting(10_000, SOME, "requests that may wait")
    backlogMib: float = _setting(256.0, SOME_MIB, "size of all that may wait")
    backlogPolicy: str = _setting("wait", POLICY, "what happens beyond that: wait (read no more) or reject (busy)")
    remember: float = _setting(60.0, SECONDS, "time for which the answers to native clients are remembered; 0: not")
    rememberEntries: int = _setting(10_000, COUNT, "answers remembered at most")
    rememberMib: float = _setting(64.0, MIB, "size of all answers remembered")

    def __post_init__(self) -> None:
        _check(self)
        if self.jobTimeout and self.jobSoftTimeout >= self.jobTimeout:
            raise ConfigurationError(
                f"job-soft-timeout ({self.jobSoftTimeout:g}) must be less than job-timeout ({self.jobTimeout:g})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """
    What a peer may send, and how much a client may ask, checked on construction.

    A client is a user, where CURVE tells who that is, and a connection where it does not.

    :raise ConfigurationError: naming the settings and their values.
    """

    maxMessageSize: float = _setting(64.0, SOME_MIB, "size of one frame, beyond which its connection is closed")
    maxMessageFrames: int = _setting(1024, SOME, "frames of one message; one that has more is refused")
    maxMessageTotal: float = _setting(256.0, SOME_MIB, "size of all frames of one message; a larger one is refused")
    maxConnections: int = _setting(0, COUNT, "connections of each socket; 0: as many as leave some open files to spare")
    clientRequests: int = _setting(0, COUNT, "requests of one client that wait or are worked on; 0: any")
    rate: float = _setting(0.0, RATE, "requests of one client, on average; 0: any")
    burst: int = _setting(Movable(1), SOME, "requests of one client at once within its rate; default a second's worth")
    handshakeTimeout: float = _setting(5.0, SOME_SECONDS, "time that a peer has to say who it is")
    heartbeat: float = _setting(
        60.0, SECONDS, "time between signs of life from clients on TCP, half of which may pass without one; 0: none"
    )

    def __post_init__(self) -> None:
        _check(self)
        if isinstance(self.burst, Movable):
            object.__setattr__(self, "burst", max(round(self.rate), 1))
        elif not self.rate:
            raise ConfigurationError(f"burst ({self.burst}) needs a rate, which is 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    All that a server can be told, checked on construction.

    :raise ConfigurationError: naming the setting and its value.
    """

    frontend: tuple[str, ...] = _setting(("tcp://127.0.0.1:6660",), ENDPOINTS, "where clients connect; repeatable")
    backend: tuple[str, ...] = _setting(("tcp://127.0.0.1:6661",), ENDPOINTS, "where workers connect; repeatable")
    app: str = _setting("pirate.echo.echo", PATH, "the callable or class that answers requests")
    prefetch: int | None = _setting(
        None,
        PREFETCH,
        "requests a worker may hold; auto: 1, and more while its jobs are far shorter than a millisecond",
    )
    concurrency: int = _setting(1, CONCURRENCY, "requests that a worker runs at once, if its app is async")
    threads: int = _setting(0, THREADS, "threads of a worker, each running a request, if its app is not async; 0: none")
    loop: str = _setting("auto", LOOP, "what runs the app: auto (asyncio for an async one), asyncio, or twisted")
    dequeue: str | None = _setting(None, PATH, "a callable run in a worker of its own every check-for-dequeue seconds")
    hooks: str | None = _setting(None, PATH, "a subclass of pirate.hooks.Hooks, told of the server's moments")
    externalWorkers: bool = _setting(False, SWITCH, "admit workers that this server did not start")
    errorReply: bool = _setting(False, SWITCH, "tell plain clients of errors, by a JSON object as the reply")
    curveSecret: str | None = _setting(None, FILE, "the server's certificate; clients and workers need keys then")
    curveClients: str | None = _setting(None, KEYS, "keys of those who may call: a directory, a file; '*': any key")
    curveWorkers: str | None = _setting(None, KEYS, "keys of external workers: a directory or a file")
    allow: tuple[str, ...] = _setting((), NETWORKS, "a network whose clients may connect, and no others; repeatable")
    deny: tuple[str, ...] = _setting(
        (), NETWORKS, "a network whose clients may not connect, even if allowed; repeatable"
    )
    insecure: bool = _setting(False, SWITCH, "allow endpoints that other machines can reach without keys")
    logLevel: int = _setting(2, LEVEL, "0 errors, 1 warnings, 2 notices, 3 info, 4 debug")
    limits: Limits = field(default_factory=Limits)
    terms: Terms = field(default_factory=Terms)
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        self._complete()
        _check(self)
        if (self.limits.checkForDequeue > 0) != (self.dequeue is not None):
            raise ConfigurationError(
                f"dequeue ({self.dequeue}) and check-for-dequeue ({self.limits.checkForDequeue:g}) need each other"
            )
        refusal = contradiction(
            self.curveSecret, self.curveClients, self.curveWorkers, self.externalWorkers, self.insecure
        )
        if refusal:
            raise ConfigurationError(refusal)
        self._refuseTogether()
        for name in ("frontend", "backend"):
            self._refusePublic(name)
        self._refuseShared()

    @property
    def curveBackend(self) -> bool:
        """
        Whether workers need keys.

        UNIX sockets are their owner's alone, and those of our own workers alone, unless others are to come.
        """
        private = all(each.startswith("ipc://") for each in self.backend)
        return self.curveSecret is not None and (self.curveWorkers is not None or not private)

    def _complete(self) -> None:
        """Every value in its one form."""
        for name, parse in (
            ("frontend", parseEndpoint),
            ("backend", parseEndpoint),
            ("allow", parseNetwork),
            ("deny", parseNetwork),
        ):
            given = getattr(self, name)
            several = given if isinstance(given, (tuple, list)) else (given,)
            try:
                parsed = tuple(parse(each) for each in several)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name} {error}" if parse is parseNetwork else str(error)) from None
            object.__setattr__(self, name, parsed)
        for name in ("curveSecret", "curveClients", "curveWorkers"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, fullPath(given))

    def _refuseTogether(self) -> None:
        """What runs one request after the other, many in one thread, and many in threads, exclude each other."""
        if self.threads and self.concurrency > 1:
            raise ConfigurationError(
                f"threads ({self.threads}) and concurrency ({self.concurrency}) exclude each other: "
                "threads are for plain functions, concurrency is for async ones"
            )
        if self.threads and self.loop != "auto":
            raise ConfigurationError(
                f"threads ({self.threads}) and loop ({self.loop}) exclude each other: in threads there is no loop"
            )
        if self.threads and self.terms.jobSoftTimeout:
            raise ConfigurationError(
                f"job-soft-timeout ({self.terms.jobSoftTimeout:g}) and threads ({self.threads}) exclude each other: "
                "nothing can be raised in a thread; use job-timeout"
            )
        for name in ("concurrency", "threads"):
            if self.prefetch is not None and getattr(self, name) > 1:
                raise ConfigurationError(
                    f"prefetch ({self.prefetch}) and {name} ({getattr(self, name)}) exclude each other: "
                    "such a worker holds as many requests as it runs at once"
                )

    def _refusePublic(self, name: str) -> None:
        endpoints = getattr(self, name)
        if not endpoints:
            raise ConfigurationError(f"{name}: at least one endpoint is needed")
        for endpoint in endpoints:
            if isPublic(endpoint) and self.curveSecret is None and not self.insecure:
                raise ConfigurationError(
                    f"{name} {endpoint} can be reached from other machines, by anybody: ask for keys by "
                    "--curve-secret FILE --curve-clients DIRECTORY, or say --insecure"
                )

    def _refuseShared(self) -> None:
        for endpoint in self.frontend:
            if endpoint in self.backend and not endpoint.endswith(":*"):
                raise ConfigurationError(f"frontend and backend are both {endpoint}: each needs an endpoint of its own")


#: The classes of settings.
Row = Limits | Terms | Bounds | Settings


def _check(values: Row) -> None:
    for each in table(type(values)):
        value = getattr(values, each.attribute)
        if value is not None and not each.kind.accepts(value):
            raise ConfigurationError(f"{each.name} is {value!r}, but must be {each.kind.words}")
        if value is None and each.default is not None:
            raise ConfigurationError(f"{each.name} is None, but must be {each.kind.words}")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.  :ivar name: as on the command line.  :ivar attribute: as in Python."""

    name: str
    attribute: str
    kind: Kind
    default: Any
    help: str


def optionName(attribute: str) -> str:
    """C{minServers} as the command line spells it: C{min-servers}."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in attribute)


def table(owner: type[Row]) -> Iterator[Setting]:
    """The rows that a class of settings declares, in its order."""
    for each in fields(owner):
        if "kind" in each.metadata:
            yield Setting(optionName(each.name), each.name, each.metadata["kind"], each.default, each.metadata["help"])


def fromText(given: Mapping[str, Any]) -> Settings:
    """
    Settings from a command line.

    :param given: option name to text, C{True} for a switch, a list of texts for what is repeatable; only what was
        given.  C{workers} is short for C{min-servers} and C{max-servers}.
    :raise ConfigurationError: naming the option and its value.
    """
    texts = _spreadWorkers(given)
    return Settings(
        limits=Limits(**_parsed(Limits, texts)),
        terms=Terms(**_parsed(Terms, texts)),
        bounds=Bounds(**_parsed(Bounds, texts)),
        **_parsed(Settings, texts),
    )


def _parsed(owner: type[Row], texts: Mapping[str, Any]) -> dict[str, Any]:
    return {each.attribute: _parse(each, texts[each.name]) for each in table(owner) if each.name in texts}


_WORKERS = Setting("workers", "", COUNT, None, "")


def _spreadWorkers(given: Mapping[str, Any]) -> dict[str, Any]:
    texts = dict(given)
    workers = texts.pop("workers", None)
    if workers is not None and not COUNT.accepts(_parse(_WORKERS, workers)):
        raise ConfigurationError(f"workers is {workers!r}, but must be {COUNT.words}")
    for name in ("min-servers", "max-servers") if workers is not None else ():
        if texts.setdefault(name, workers) != workers:
            raise ConfigurationError(f"workers ({workers}) is short for {name} {workers}, but {name} is {texts[name]}")
    return texts


def _parse(setting: Setting, text: Any) -> Any:
    if isinstance(text, list):
        return tuple(_parse(setting, each) for each in text)
    if not isinstance(text, str):
        return text
    try:
        return setting.kind.parse(text)
    except ValueError:
        raise ConfigurationError(f"{setting.name} is {text!r}, but must be {setting.kind.words}") from None
