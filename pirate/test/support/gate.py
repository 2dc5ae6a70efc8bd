"""A socket by which a test controls a running app."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

#: The longest time that a test waits for anything, in seconds.
PATIENCE = 60.0


class Gate:
    """
    A UNIX socket to which an app connects in :func:`~pirate.test.support.apps.meet`.

    :ivar path: the path of the socket, for the app.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp()
        self.path = os.path.join(self._folder, "gate").encode()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._guests: list[Guest] = []

    def next(self, within: float = PATIENCE) -> Guest:
        """
        Return the next app that connects.

        :raise TimeoutError: if none does in time.
        """
        self._listener.settimeout(within)
        guest = Guest(self._listener.accept()[0])
        self._guests.append(guest)
        return guest

    def close(self) -> None:
        """Close the socket and all connections.  A second call does nothing."""
        for guest in self._guests:
            guest.close()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Guest:
    """
    An app in the middle of a request.

    :ivar pid: its worker's process id.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        self._stream = connection.makefile("rb")
        self.pid = int(self._stream.readline())

    def tell(self, *words: bytes) -> None:
        """Send the app a command; see :func:`~pirate.test.support.apps.perform`."""
        self._connection.sendall(b" ".join(words) + b"\n")

    def awaitEnd(self) -> None:
        """Wait until the app has closed the connection, because it has replied or has died."""
        try:
            rest = self._stream.read()
        except ConnectionResetError:
            # The app has ended without reading everything.
            return
        if rest:
            raise AssertionError(f"an app said {rest!r}")

    def close(self) -> None:
        """Close the connection; an app without a command then replies with nothing."""
        self._stream.close()
        self._connection.close()
