"""
The one table of settings: name, kind, default, unit and help of each, written once.

The command line, the checks, the run-time changes and the reference page are all made from the fields of
:class:`~pirate.settings.limits.PoolLimits`, :class:`~pirate.settings.limits.RequestPolicy`,
:class:`~pirate.settings.limits.PeerLimits` and :class:`Settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from pirate.errors import ConfigurationError
from pirate.settings.access import checkKeys
from pirate.settings.addresses import parseNetwork
from pirate.settings.endpoints import isPublic, parseEndpoint
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.table import Setting, check, setting, table
from pirate.settings.types import (
    CLASS_PATH,
    CONCURRENCY,
    COUNT,
    ENDPOINTS,
    FILE,
    KEYS,
    LEVEL,
    LOOP,
    NETWORKS,
    PATH,
    PREFETCH,
    SWITCH,
    THREADS,
    fullPath,
    importPathOf,
)

#: Endpoints to bind, in any form: a port, ``host:port``, ``tcp://host:port``, ``ipc://path``, or several of these.
Endpoints = str | int | Sequence[str | int]


class SettingsArguments(TypedDict, total=False):
    """
    The keyword arguments of :class:`Settings` and :class:`~pirate.service.JobServer`, with every form that they take.

    :class:`Settings` has the defaults, the checks and the help of each.  ``hooks`` is not among them, because
    ``JobServer`` takes an instance where the command line takes an import path.
    """

    frontend: Endpoints
    backend: Endpoints
    app: str | Callable[..., Any]
    prefetch: int | None
    concurrency: int
    threads: int
    loop: str
    dequeue: str | Callable[..., Any] | None
    externalWorkers: bool
    errorReply: bool
    curveSecret: str | None
    curveClients: str | None
    curveWorkers: str | None
    allow: str | Sequence[str]
    deny: str | Sequence[str]
    insecure: bool
    logLevel: int
    limits: PoolLimits
    policy: RequestPolicy
    peerLimits: PeerLimits


class LimitChanges(TypedDict, total=False):
    """
    The keyword arguments of :meth:`pirate.service.JobServer.setLimits`: the settings that can change at run time.

    These are the fields of :class:`~pirate.settings.limits.PoolLimits`; ``workers``, which sets both ``minServers`` and
    ``maxServers``; and the fields ``dequeue`` and ``logLevel`` of :class:`Settings`.
    """

    minServers: int
    maxServers: int
    minSpareServers: int
    maxSpareServers: int
    maxRequests: int
    maxRequestsJitter: int
    maxMemory: float
    maxAge: float
    checkForWaiting: float
    minChildTtl: float
    checkForDead: float
    checkForDequeue: float
    maxDequeue: int
    dequeueTimeout: float
    startTimeout: float
    reloadTimeout: float
    stopTimeout: float
    workers: int
    dequeue: str | Callable[..., Any] | None
    logLevel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    All that a server can be told, checked on construction.

    :raise ConfigurationError: naming the setting and its value.
    """

    frontend: tuple[str, ...] = setting(("tcp://127.0.0.1:6660",), ENDPOINTS, "where clients connect; repeatable")
    backend: tuple[str, ...] = setting(("tcp://127.0.0.1:6661",), ENDPOINTS, "where workers connect; repeatable")
    app: str = setting("pirate.echo.echo", PATH, "the callable or class that answers requests")
    prefetch: int | None = setting(
        None,
        PREFETCH,
        "requests a worker may hold; auto: 1, 2 while its jobs steadily take up to 10 ms, more if far shorter",
    )
    concurrency: int = setting(1, CONCURRENCY, "requests that a worker runs at once, if its app is async")
    threads: int = setting(0, THREADS, "threads of a worker, each running a request, if its app is not async; 0: none")
    loop: str = setting("auto", LOOP, "what runs the app: auto (asyncio for an async one), asyncio, or twisted")
    dequeue: str | None = setting(None, PATH, "a callable run in a worker of its own every check-for-dequeue seconds")
    hooks: str | None = setting(None, CLASS_PATH, "a subclass of pirate.hooks.Hooks, told of the server's moments")
    externalWorkers: bool = setting(False, SWITCH, "admit workers that this server did not start")
    errorReply: bool = setting(False, SWITCH, "tell plain clients of errors, by a JSON object as the reply")
    curveSecret: str | None = setting(None, FILE, "the server's certificate; clients and workers need keys then")
    curveClients: str | None = setting(None, KEYS, "keys of those who may call: a directory, a file; '*': any key")
    curveWorkers: str | None = setting(None, KEYS, "keys of external workers: a directory or a file")
    allow: tuple[str, ...] = setting((), NETWORKS, "a network whose clients may connect, and no others; repeatable")
    deny: tuple[str, ...] = setting(
        (), NETWORKS, "a network whose clients may not connect, even if allowed; repeatable"
    )
    insecure: bool = setting(False, SWITCH, "allow endpoints that other machines can reach without keys")
    logLevel: int = setting(2, LEVEL, "0 errors, 1 warnings, 2 notices, 3 info, 4 debug")
    limits: PoolLimits = field(default_factory=PoolLimits)
    policy: RequestPolicy = field(default_factory=RequestPolicy)
    peerLimits: PeerLimits = field(default_factory=PeerLimits)

    def __post_init__(self) -> None:
        self._complete()
        check(self)
        if (self.limits.checkForDequeue > 0) != (self.dequeue is not None):
            raise ConfigurationError(
                f"dequeue ({self.dequeue}) and check-for-dequeue ({self.limits.checkForDequeue:g}) need each other"
            )
        checkKeys(self.curveSecret, self.curveClients, self.curveWorkers, self.externalWorkers, self.insecure)
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
            several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
            try:
                parsed = tuple(parse(each) for each in several)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name} {error}" if parse is parseNetwork else str(error)) from None
            object.__setattr__(self, name, parsed)
        for name in ("app", "dequeue"):
            given = getattr(self, name)
            if callable(given):
                object.__setattr__(self, name, importPathOf(given, name))
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
        if self.threads and self.policy.jobSoftTimeout:
            raise ConfigurationError(
                f"job-soft-timeout ({self.policy.jobSoftTimeout:g}) and threads ({self.threads}) exclude each other: "
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


def makeSettings(given: SettingsArguments) -> Settings:
    """
    Return the settings that keyword arguments ask for.

    :raise ConfigurationError: naming the setting and its value.
    """
    arguments: dict[str, Any] = {**given}
    return Settings(**arguments)


def fromText(given: Mapping[str, Any]) -> Settings:
    """
    Settings from a command line.

    :param given: option name to text, ``True`` for a switch, a list of texts for what is repeatable; only what was
        given.  ``workers`` is short for ``min-servers`` and ``max-servers``.
    :raise ConfigurationError: naming the option and its value.
    """
    texts = _spreadWorkers(given)
    return Settings(
        limits=PoolLimits(**_parsed(PoolLimits, texts)),
        policy=RequestPolicy(**_parsed(RequestPolicy, texts)),
        peerLimits=PeerLimits(**_parsed(PeerLimits, texts)),
        **_parsed(Settings, texts),
    )


def _parsed(owner: type[Any], texts: Mapping[str, Any]) -> dict[str, Any]:
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
