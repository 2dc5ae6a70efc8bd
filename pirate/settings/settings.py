"""
All settings of a server.

The name, type, default and help of each setting are in one place: the fields of
:class:`~pirate.settings.limits.PoolLimits`, :class:`~pirate.settings.limits.RequestPolicy`,
:class:`~pirate.settings.limits.PeerLimits` and :class:`Settings`.  The command line, the checks, the changes at run
time and the reference page all come from them.

A type checker cannot read them there, so :class:`SettingsArguments` and :class:`RuntimeChanges` repeat the names and
the types of the keyword arguments.  ``ArgumentTests`` in ``pirate/test/settings/test_settings.py`` fails if they
differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from pirate.errors import ConfigurationError
from pirate.settings.access import checkKeys
from pirate.settings.addresses import canonicalNetwork
from pirate.settings.endpoints import canonicalEndpoint, isPublic
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.table import Setting, checkValues, optionName, setting, table
from pirate.settings.types import (
    CLASS_IMPORT_PATH,
    CLIENT_KEYS,
    CONCURRENCY,
    COUNT,
    ENDPOINTS,
    FILE,
    IMPORT_PATH,
    KEYS,
    LEVEL,
    LOOP,
    NETWORKS,
    PREFETCH,
    SWITCH,
    THREADS,
    fullPath,
    importPathOf,
)

#: Endpoints to bind, in any form: a port, ``host:port``, ``tcp://host:port``, ``ipc://path``, or several of these.
EndpointSetting = str | int | Sequence[str | int]


class SettingsArguments(TypedDict, total=False):
    """
    The keyword arguments of :class:`Settings` and :class:`~pirate.service.JobServer`, in every form that the
    constructors accept.

    :class:`Settings` has the defaults, the checks and the help of each.  ``hooks`` is not among them, because
    ``JobServer`` takes an instance where the command line takes an import path.
    """

    frontend: EndpointSetting
    backend: EndpointSetting
    app: str | Callable[..., Any]
    prefetch: int | Literal["auto"] | None
    concurrency: int
    threads: int
    loop: Literal["auto", "asyncio", "twisted"]
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


class RuntimeChanges(TypedDict, total=False):
    """
    The keyword arguments of :meth:`pirate.service.JobServer.reconfigure`: the settings that can change at run time.

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
    All settings of a server, checked and completed on construction.

    The keyword arguments are those of :class:`SettingsArguments`, and ``hooks``, an import path.

    :raise ConfigurationError: naming the setting and its value.
    """

    frontend: tuple[str, ...] = setting(
        ("tcp://127.0.0.1:6660",), ENDPOINTS, "Listen for clients on this endpoint; repeatable."
    )
    backend: tuple[str, ...] = setting(
        ("tcp://127.0.0.1:6661",), ENDPOINTS, "Listen for workers on this endpoint; repeatable."
    )
    app: str = setting("pirate.echo.echo", IMPORT_PATH, "Import path of the callable or class that handles requests.")
    prefetch: int | None = setting(
        None,
        PREFETCH,
        "Number of requests that a worker may hold; auto adapts it to the duration of its jobs.",
    )
    concurrency: int = setting(1, CONCURRENCY, "Number of requests that a worker runs at a time, if the app is async.")
    threads: int = setting(
        0, THREADS, "Number of threads of a worker, each running one request, if the app is not async; 0 for none."
    )
    loop: Literal["auto", "asyncio", "twisted"] = setting(
        "auto", LOOP, "Event loop that runs the app: auto (asyncio if the app is async), asyncio, or twisted."
    )
    dequeue: str | None = setting(
        None, IMPORT_PATH, "Import path of a callable that a separate worker runs every check-for-dequeue seconds."
    )
    hooks: str | None = setting(
        None, CLASS_IMPORT_PATH, "Import path of a subclass of pirate.hooks.Hooks, which receives the server's events."
    )
    externalWorkers: bool = setting(False, SWITCH, "Admit workers that this server did not start.")
    errorReply: bool = setting(False, SWITCH, "Reply to a plain client with a JSON object if its request fails.")
    curveSecret: str | None = setting(
        None, FILE, "File with the server's key pair; clients and workers then need keys."
    )
    curveClients: str | None = setting(
        None, CLIENT_KEYS, "Directory or file with the public keys of clients; '*' admits any key."
    )
    curveWorkers: str | None = setting(None, KEYS, "Directory or file with the public keys of external workers.")
    allow: tuple[str, ...] = setting((), NETWORKS, "Admit clients from this network only; repeatable.")
    deny: tuple[str, ...] = setting(
        (), NETWORKS, "Refuse clients from this network, even if it is allowed; repeatable."
    )
    insecure: bool = setting(False, SWITCH, "Permit endpoints that other machines can reach without keys.")
    logLevel: int = setting(2, LEVEL, "Amount of log output: 0 errors, 1 warnings, 2 notices, 3 info, 4 debug.")
    limits: PoolLimits = field(default_factory=PoolLimits)
    policy: RequestPolicy = field(default_factory=RequestPolicy)
    peerLimits: PeerLimits = field(default_factory=PeerLimits)

    if TYPE_CHECKING:
        # The generated method has the types of the fields, but takes every form that _complete understands.
        def __init__(self, *, hooks: str | None = None, **settings: Unpack[SettingsArguments]) -> None: ...

    def __post_init__(self) -> None:
        self._complete()
        checkValues(self)
        if (self.limits.checkForDequeue > 0) != (self.dequeue is not None):
            raise ConfigurationError(
                f"dequeue ({self.dequeue}) and check-for-dequeue ({self.limits.checkForDequeue:g}) need each other"
            )
        checkKeys(self.curveSecret, self.curveClients, self.curveWorkers, self.externalWorkers, self.insecure)
        self._checkModes()
        for name in ("frontend", "backend"):
            self._checkPublic(name)
        self._checkShared()

    @property
    def curveBackend(self) -> bool:
        """
        Whether workers need keys.

        Children need none on a UNIX socket, which only its owner can open; external workers always need them.
        """
        private = all(each.startswith("ipc://") for each in self.backend)
        return self.curveSecret is not None and (self.curveWorkers is not None or not private)

    def _complete(self) -> None:
        """Bring every value into its canonical form."""
        for name, parse in (
            ("frontend", canonicalEndpoint),
            ("backend", canonicalEndpoint),
            ("allow", canonicalNetwork),
            ("deny", canonicalNetwork),
        ):
            given = getattr(self, name)
            several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
            try:
                parsed = tuple(parse(each) for each in several)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name} {error}" if parse is canonicalNetwork else str(error)) from None
            object.__setattr__(self, name, parsed)
        if self.prefetch == "auto":  # type: ignore[comparison-overlap]
            object.__setattr__(self, "prefetch", None)
        for name in ("app", "dequeue"):
            given = getattr(self, name)
            if callable(given):
                object.__setattr__(self, name, importPathOf(given, name))
        for name in ("curveSecret", "curveClients", "curveWorkers"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, fullPath(given))

    def _checkModes(self) -> None:
        """Refuse settings that ask for two ways to run requests: one at a time, many on a loop, or in threads."""
        if self.threads and self.concurrency > 1:
            raise ConfigurationError(
                f"threads ({self.threads}) and concurrency ({self.concurrency}) exclude each other: "
                "threads are for plain functions, concurrency is for async ones"
            )
        if self.threads and self.loop != "auto":
            raise ConfigurationError(
                f"threads ({self.threads}) and loop ({self.loop}) exclude each other: threads run no loop"
            )
        if self.threads and self.policy.jobSoftTimeout:
            raise ConfigurationError(
                f"job-soft-timeout ({self.policy.jobSoftTimeout:g}) and threads ({self.threads}) exclude each other: "
                "an exception cannot be raised in another thread; use job-timeout"
            )
        for name in ("concurrency", "threads"):
            if self.prefetch is not None and getattr(self, name) > 1:
                raise ConfigurationError(
                    f"prefetch ({self.prefetch}) and {name} ({getattr(self, name)}) exclude each other: "
                    "a worker that runs several requests at a time holds just those"
                )

    def _checkPublic(self, name: str) -> None:
        endpoints = getattr(self, name)
        if not endpoints:
            raise ConfigurationError(f"{name} needs at least one endpoint")
        for endpoint in endpoints:
            if isPublic(endpoint) and self.curveSecret is None and not self.insecure:
                raise ConfigurationError(
                    f"{name} {endpoint} is reachable from other machines: require keys with --curve-secret FILE "
                    "--curve-clients DIRECTORY, or permit anyone to connect with --insecure"
                )

    def _checkShared(self) -> None:
        for endpoint in self.frontend:
            if endpoint in self.backend and not endpoint.endswith(":*"):
                raise ConfigurationError(f"frontend and backend are both {endpoint}, but each needs its own endpoint")


def fromText(given: Mapping[str, Any]) -> Settings:
    """
    Return the settings that a command line asks for.

    :param given: the options on the command line: a text by the option's name, ``True`` for a switch, a list of texts
        for a repeatable option.  ``workers`` sets both ``min-servers`` and ``max-servers``.
    :raise ConfigurationError: naming the option and its value.
    """
    texts = spreadWorkers(given, "min-servers", "max-servers")
    return Settings(
        limits=PoolLimits(**_parsed(PoolLimits, texts)),
        policy=RequestPolicy(**_parsed(RequestPolicy, texts)),
        peerLimits=PeerLimits(**_parsed(PeerLimits, texts)),
        **_parsed(Settings, texts),
    )


def _parsed(owner: type[Any], texts: Mapping[str, Any]) -> dict[str, Any]:
    return {each.attribute: _parse(each, texts[each.name]) for each in table(owner) if each.name in texts}


_WORKERS = Setting("workers", "", COUNT, None, "")


def spreadWorkers(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """
    Replace ``workers`` by the settings that it stands for.

    :param given: the values by the names of their settings, as texts or not.
    :param names: the names of those settings: of options, or of attributes.
    :raise ConfigurationError: if ``workers`` is no whole number, or one of the settings is given with another value.
    """
    values = dict(given)
    if "workers" not in values:
        return values
    workers = values.pop("workers")
    if not COUNT.accepts(_parse(_WORKERS, workers)):
        raise ConfigurationError(f"workers is {workers!r}, but must be {COUNT.words}")
    for name in names:
        if values.setdefault(name, workers) != workers:
            option = optionName(name)
            raise ConfigurationError(f"workers ({workers}) sets {option} to {workers}, but {option} is {values[name]}")
    return values


def _parse(setting: Setting, text: Any) -> Any:
    if isinstance(text, list):
        return tuple(_parse(setting, each) for each in text)
    if not isinstance(text, str):
        return text
    try:
        return setting.type.parse(text)
    except ValueError:
        raise ConfigurationError(f"{setting.name} is {text!r}, but must be {setting.type.words}") from None
