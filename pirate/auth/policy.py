"""The access policy of a server: its settings and key files, turned into rules for both sockets."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pirate.auth.keyring import Keyring
from pirate.auth.keys import loadPair, toText
from pirate.auth.rules import BACKEND, FRONTEND, AddressRules, RefusalLog, SocketPolicy, Users, ZapPolicy
from pirate.errors import ConfigurationError
from pirate.settings.access import ANY
from pirate.settings.settings import Settings


class AnyUser:
    """The owners of all keys: each key is its own user, as 40 characters of Z85 text."""

    def userOf(self, key: bytes) -> str:
        """See :class:`~pirate.auth.rules.Users`."""
        return toText(key).decode()


class WorkerUsers:
    """
    The owners of the keys that the backend admits: this server's children, and external workers.

    :param external: the keys of external workers; ``None`` if there are none.
    :ivar children: the identity of each child, by its public key in Z85 text.
    """

    def __init__(self, external: Keyring | None) -> None:
        self._external = external
        self.children: dict[bytes, str] = {}

    def userOf(self, key: bytes) -> str | None:
        """See :class:`~pirate.auth.rules.Users`."""
        child = self.children.get(toText(key))
        return child if child is not None or self._external is None else self._external.userOf(key)


class AccessPolicy:
    """
    The access rules of a server's sockets, and the keys of its children.

    It implements :class:`~pirate.server.interfaces.ChildKeys`.

    The server's own key is read once, while the process may still have the privilege to read it; a bound socket cannot
    change its key.

    :param log: receives the changes of the key files.
    :param refused: counts the peers that are refused.
    :ivar frontend: the rules of the clients' socket.
    :ivar backend: the rules of the workers' socket.
    :ivar refused: the log of refused peers.
    :raise ConfigurationError: if a key cannot be read.
    """

    def __init__(self, clock: IReactorTime, log: Logger, settings: Settings, refused: RefusalLog) -> None:
        self.refused = refused
        self._public, secret = _loadOwn(settings.curveSecret)
        self._clients = _keyring(clock, log, "curve-clients", settings.curveClients)
        self._externalWorkers = _keyring(clock, log, "curve-workers", settings.curveWorkers)
        self._workers = WorkerUsers(self._externalWorkers)
        clients: Users = AnyUser() if self._clients is None else self._clients
        self.frontend = SocketPolicy(
            AddressRules.fromTexts(settings.allow, settings.deny),
            clients if secret else None,
            secret,
            set() if self._clients is None else self._clients.revoked,
        )
        self.backend = SocketPolicy(users=self._workers, secret=secret) if settings.curveBackend else SocketPolicy()
        self._zap = ZapPolicy({FRONTEND: self.frontend, BACKEND: self.backend}, refused)

    def answer(self, frames: Sequence[bytes]) -> list[bytes]:
        """Return the ZAP reply to a ZAP request; see :meth:`pirate.auth.rules.ZapPolicy.answer`."""
        return self._zap.answer(frames)

    def issue(self, identity: bytes) -> dict[str, str]:
        """
        Make the keys of a child that is about to start, and admit them.

        :return: the child's ``public`` and ``secret`` keys and the ``server``'s public key, as Z85 text; empty if the
            backend does not require keys.
        """
        if not self.backend.refusesAny:
            return {}
        import zmq

        public, secret = zmq.curve_keypair()
        self._workers.children[public] = identity.decode()
        return {"server": self._public.decode(), "public": public.decode(), "secret": secret.decode()}

    def revoke(self, keys: dict[str, str]) -> None:
        """
        Stop admitting the keys of a child that has ended.

        :param keys: the keys as :meth:`issue` returned them.
        """
        if keys:
            self._workers.children.pop(keys["public"].encode(), None)

    def readKeys(self) -> None:
        """Read the keys of clients and of external workers again."""
        for keyring in (self._clients, self._externalWorkers):
            if keyring is not None:
                keyring.read()


def _loadOwn(path: str | None) -> tuple[bytes, bytes]:
    """Return the server's public and secret key, which are empty if it has none."""
    if path is None:
        return b"", b""
    try:
        return loadPair(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"curve-secret: {error}") from None


def _keyring(clock: IReactorTime, log: Logger, name: str, path: str | None) -> Keyring | None:
    """Return the keyring of a setting; ``None`` if the setting names no keys, or admits all."""
    return None if path is None or path == ANY else Keyring(clock, log, name, path)
