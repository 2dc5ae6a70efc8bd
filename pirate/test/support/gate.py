"""A place where a test meets a running app."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

#: Ends a wait that would last for ever, in seconds; nothing is as slow as this.
PATIENCE = 60.0


class Gate:
    """
    A UNIX socket to which an app connects when it is asked to ``meet``; see :func:`~pirate.test.support.apps.meet`.

    :ivar path: what the app must be told.
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
        The next app that arrives.

        :raise TimeoutError: if nobody does in time.
        """
        self._listener.settimeout(within)
        guest = Guest(self._listener.accept()[0])
        self._guests.append(guest)
        return guest

    def close(self) -> None:
        """Let everybody go.  Twice does no harm."""
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
        """Say what to do next; see :func:`~pirate.test.support.apps.perform`."""
        self._connection.sendall(b" ".join(words) + b"\n")

    def awaitEnd(self) -> None:
        """Wait until it has let go of the connection: it has answered, or is dead."""
        try:
            rest = self._stream.read()
        except ConnectionResetError:
            # It ended with something unread.
            return
        if rest:
            raise AssertionError(f"an app said {rest!r}")

    def close(self) -> None:
        """Hang up, which lets it answer with nothing if it has not been told anything."""
        self._stream.close()
        self._connection.close()
