"""The public keys that a server admits: read at the start, on a reload, and when their files have changed."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pirate.auth.keys import fingerprint, loadUsers, toText
from pirate.errors import ConfigurationError

#: Seconds between two looks at the files.
CHECK_INTERVAL = 0.5


class Keyring:
    """
    The public keys of a file or directory, and the users that own them.

    The keyring looks at the files only when it is asked for a user, so an idle server does nothing.

    :param name: the setting that names the path, for messages.
    :param path: a path as :func:`~pirate.auth.keys.loadUsers` takes it.
    :ivar revoked: the users that have lost their last key, and whose connections may still be open.  It stays the same
        set, which :class:`~pirate.auth.rules.SocketPolicy` and the ROUTER keep to see each change.
    :raise ConfigurationError: if the keys cannot be read.
    """

    def __init__(self, clock: IReactorTime, log: Logger, name: str, path: str) -> None:
        self._clock = clock
        self._log = log
        self._name = name
        self._path = path
        self._fingerprint = fingerprint(path)
        try:
            self._users = loadUsers(path)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None
        self._nextCheck = clock.seconds() + CHECK_INTERVAL
        self.revoked: set[str] = set()

    def __len__(self) -> int:
        return len(self._users)

    def userOf(self, key: bytes) -> str | None:
        """See :class:`~pirate.auth.rules.Users`."""
        if self._clock.seconds() >= self._nextCheck:
            self._nextCheck = self._clock.seconds() + CHECK_INTERVAL
            if fingerprint(self._path) != self._fingerprint:
                self.read()
        return self._users.get(toText(key))

    def read(self) -> None:
        """Read the keys again.  If that fails, keep the old keys and log the reason."""
        before = self._users
        # Taken before the keys are read: a change in between is found at the next check.
        self._fingerprint = fingerprint(self._path)
        try:
            self._users = loadUsers(self._path)
        except ConfigurationError as error:
            self._log.error("{name}: the old keys stay: {error}", name=self._name, error=error)
            return
        self.revoked.update(before.values())
        self.revoked.difference_update(self._users.values())
        if before != self._users:
            self._log.info("{name}: {count} keys", name=self._name, count=len(self._users))
