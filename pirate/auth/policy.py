"""Whom a server lets in: its settings and its files of keys, made rules for both sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pirate.auth.keyring import Keyring
from pirate.auth.keys import loadPair, toText
from pirate.auth.rules import BACKEND, FRONTEND, SocketPolicy, ZapPolicy
from pirate.errors import ConfigurationError
from pirate.server.logs import RateLimitedLog
from pirate.settings.access import ANY
from pirate.settings.addresses import Addresses
from pirate.settings.settings import Settings


class AccessPolicy:
    """
    Whom a server lets in.

    The server's own key is read once, while there may still be the privilege to; a bound socket would not take another.

    :ivar frontend: the rule of the clients' socket.
    :ivar backend: the rule of the workers' socket.
    :ivar answer: answers ZAP's questions.
    :ivar refused: who was not let in, by reason.
    :raise ConfigurationError: if a key cannot be read.
    """

    def __init__(self, clock: IReactorTime, log: Logger, settings: Settings) -> None:
        self.refused = RateLimitedLog(clock, log, "peers refused")
        self._children: dict[bytes, str] = {}
        self._public = ""
        self._rings: dict[str, Keyring] = {}
        secret = b""
        if settings.curveSecret is not None:
            secret = self._load(settings.curveSecret)
        for name, path in (("curve-clients", settings.curveClients), ("curve-workers", settings.curveWorkers)):
            if path is not None and path != ANY:
                self._rings[name] = Keyring(clock, log, name, path)
        addresses = Addresses.fromTexts(settings.allow, settings.deny)
        ring = self._rings.get("curve-clients")
        holder = _itself if ring is None else ring.holder
        revoked = set() if ring is None else ring.revoked
        self.frontend = SocketPolicy(addresses, holder if secret else None, secret, revoked)
        curveBackend = settings.curveBackend
        self.backend = SocketPolicy(
            holder=self._worker if curveBackend else None, secret=secret if curveBackend else b""
        )
        self.answer: Callable[[Sequence[bytes]], list[bytes]] = ZapPolicy(
            {FRONTEND: self.frontend, BACKEND: self.backend},
            lambda reason, address: self.refused.count(reason.value, f"the last one from {address}"),
        ).answer

    def introduce(self, identity: bytes) -> dict[str, str]:
        """
        Let a child in that is about to start.

        :return: the keys that it needs, for :class:`~pirate.worker.worker.Worker`; empty if it needs none.
        """
        if not self.backend:
            return {}
        import zmq

        public, secret = zmq.curve_keypair()
        self._children[public] = identity.decode()
        return {"server": self._public, "public": public.decode(), "secret": secret.decode()}

    def forget(self, keys: dict[str, str]) -> None:
        """
        A child has gone: its keys open no door any more.

        :param keys: as :meth:`introduce` gave them.
        """
        if keys:
            self._children.pop(keys["public"].encode(), None)

    def read(self) -> None:
        """Read the keys of those who may come in anew."""
        for ring in self._rings.values():
            ring.read()

    def _load(self, path: str) -> bytes:
        try:
            public, secret = loadPair(path)
        except ConfigurationError as error:
            raise ConfigurationError(f"curve-secret: {error}") from None
        self._public = public.decode()
        return secret

    def _worker(self, key: bytes) -> str | None:
        child = self._children.get(toText(key))
        ring = self._rings.get("curve-workers")
        return child if child is not None or ring is None else ring.holder(key)


def _itself(key: bytes) -> str:
    """Where any key will do, it is its own holder."""
    return toText(key).decode()
