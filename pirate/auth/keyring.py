"""The keys of those who may come in: read at the start, when told to, and when their files have changed."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pirate.auth.keys import fingerprint, loadNames, toText
from pirate.errors import ConfigurationError

#: Seconds for which the files are not looked at again.
FRESH = 0.5


class Keyring:
    """
    Public keys, and whose they are.

    The files are looked at only when somebody asks, so that an idle server has nothing to do.

    :param name: the setting, for messages.
    :param path: as for :func:`~pirate.auth.keys.loadNames`.
    :ivar revoked: the holders that have no key any more; connections that they had may be there still.
    :raise ConfigurationError: if the keys cannot be read.
    """

    def __init__(self, clock: IReactorTime, log: Logger, name: str, path: str) -> None:
        self._clock = clock
        self._log = log
        self._name = name
        self._path = path
        self._seen = fingerprint(path)
        try:
            self._names = loadNames(path)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None
        self._next = clock.seconds() + FRESH
        self.revoked: set[str] = set()

    def __len__(self) -> int:
        return len(self._names)

    def holder(self, key: bytes) -> str | None:
        """
        The name of a key's holder, or ``None``.

        :param key: 32 bytes.
        """
        if self._clock.seconds() >= self._next:
            self._next = self._clock.seconds() + FRESH
            if fingerprint(self._path) != self._seen:
                self.read()
        return self._names.get(toText(key))

    def read(self) -> None:
        """Read the keys anew.  If that fails, those that are known stay, and the log says why."""
        before = self._names
        # Before the keys: what changes meanwhile is seen the next time.
        self._seen = fingerprint(self._path)
        try:
            self._names = loadNames(self._path)
        except ConfigurationError as error:
            self._log.error("{name}: the old keys stay: {error}", name=self._name, error=error)
            return
        holders = set(self._names.values())
        self.revoked.update(before.values())
        self.revoked -= holders
        if before != self._names:
            self._log.info("{name}: {count} keys", name=self._name, count=len(self._names))
