"""The message that a child is spawned with: one line of JSON on its standard input."""

from __future__ import annotations

import json

from pirate.wire.words import Value


class WorkerConfig(Value):
    """
    Everything that a worker must know before it connects.

    The server makes one for all its workers, and :meth:`forChild` completes it for each of them.

    :ivar backend: the endpoint that the worker connects to.
    :ivar app: the import path of the app.
    :ivar dequeue: the import path of the dequeue callable, for a worker that is to run it instead of the app.
    :ivar prefetch: the credit of the worker; ``None`` to measure it.
    :ivar pack: whether the broker reads replies that are packed.
    :ivar concurrency: how many requests the app may run at once on a loop.
    :ivar threads: how many requests the app may run at once in threads; 0 for none.
    :ivar loop: what waits for the app's results: ``auto``, ``asyncio`` or ``twisted``.
    :ivar softTimeout: seconds after which a request is interrupted; 0 for never.
    :ivar maxFrame: bytes that a frame of a reply may have.
    :ivar maxFrames: frames that a reply may have.
    :ivar maxTotal: bytes that all frames of a reply may have together.
    :ivar importPath: the worker's ``sys.path``.
    :ivar pythonPath: the value of ``PYTHONPATH`` for the processes that the app starts; ``None`` to leave it unset.
    :ivar parent: the process id of the server.
    :ivar title: the title of the worker's process.
    :ivar showTraceback: whether the worker writes a traceback if the app cannot be loaded.
    :ivar identity: the routing id of the worker.
    :ivar token: the secret by which the worker proves that it is the server's child.
    :ivar keys: its CURVE keys, ``server``, ``public`` and ``secret``; empty without CURVE.
    """

    __slots__ = (
        "app",
        "backend",
        "concurrency",
        "dequeue",
        "identity",
        "importPath",
        "keys",
        "loop",
        "maxFrame",
        "maxFrames",
        "maxTotal",
        "pack",
        "parent",
        "prefetch",
        "pythonPath",
        "showTraceback",
        "softTimeout",
        "threads",
        "title",
        "token",
    )

    def __init__(
        self,
        *,
        backend: str,
        app: str,
        dequeue: str | None = None,
        prefetch: int | None = None,
        pack: bool = False,
        concurrency: int = 1,
        threads: int = 0,
        loop: str = "auto",
        softTimeout: float = 0.0,
        maxFrame: int = 1 << 62,
        maxFrames: int = 1 << 31,
        maxTotal: int = 1 << 62,
        importPath: list[str],
        pythonPath: str | None = None,
        parent: int,
        title: str,
        showTraceback: bool = False,
        identity: str = "",
        token: str = "",
        keys: dict[str, str] | None = None,
    ) -> None:
        self.backend = backend
        self.app = app
        self.dequeue = dequeue
        self.prefetch = prefetch
        self.pack = pack
        self.concurrency = concurrency
        self.threads = threads
        self.loop = loop
        self.softTimeout = softTimeout
        self.maxFrame = maxFrame
        self.maxFrames = maxFrames
        self.maxTotal = maxTotal
        self.importPath = importPath
        self.pythonPath = pythonPath
        self.parent = parent
        self.title = title
        self.showTraceback = showTraceback
        self.identity = identity
        self.token = token
        self.keys = keys or {}

    def forChild(self, identity: bytes, token: str, keys: dict[str, str], *, dequeue: bool) -> WorkerConfig:
        """
        Return a copy of this configuration for one child.

        :param identity: the child's routing id.
        :param token: the child's secret.
        :param keys: the child's CURVE keys.
        :param dequeue: whether the child runs the dequeue callable instead of the app.
        """
        own = {
            "identity": identity.decode(),
            "token": token,
            "keys": keys,
            "dequeue": self.dequeue if dequeue else None,
        }
        return WorkerConfig(**{**self._fields(), **own})

    def encode(self) -> bytes:
        """Return the configuration as one line of JSON."""
        return json.dumps(self._fields()).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> WorkerConfig:
        """
        Read a configuration from a line that :meth:`encode` has made.

        :raise ValueError: if the line is not JSON.
        :raise TypeError: if a field is missing, or unknown.
        """
        return cls(**json.loads(line))
