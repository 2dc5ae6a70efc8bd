"""An endpoint of a socket: bind it, report it in full, and remove its file."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq

from pirate.errors import BindError


class Binding:
    """
    An endpoint of a socket.

    A UNIX socket gets mode 0700.  A file that a dead server has left is replaced; a socket in use is not.  A UNIX
    socket whose name begins with ``@`` has no file.

    :param socket: a ZeroMQ socket.
    :param name: the name of the socket in messages: ``frontend`` or ``backend``.
    :param endpoint: a full endpoint.
    """

    def __init__(self, socket: Any, name: str, endpoint: str) -> None:
        self.socket = socket
        self._name = name
        self.endpoint = endpoint
        self._bound = ""

    def bind(self) -> str:
        """
        Bind the endpoint.

        :return: the endpoint, with the real port in place of ``*``.
        :raise BindError: naming the endpoint and the obstacle.
        """
        path = self._path()
        if path is not None:
            self._clear(path)
        self.socket.ipv6 = "[" in self.endpoint
        mask = os.umask(0o077)
        try:
            self.socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            raise self._refused(os.strerror(error.errno or 0)) from None
        finally:
            os.umask(mask)
        self._bound = self.socket.last_endpoint.decode() if path is None else self.endpoint
        return self._bound

    def remove(self) -> None:
        """Remove the file of a UNIX socket, if it was bound.  Close the ZeroMQ socket first."""
        path = self._path() if self._bound else None
        if path is not None:
            # This process may have lost its access to the directory when it dropped privileges.
            with suppress(OSError):
                path.unlink()

    def _refused(self, reason: str) -> BindError:
        return BindError(f"{self._name} {self.endpoint}: {reason}")

    def _path(self) -> Path | None:
        named = self.endpoint.startswith("ipc://") and not self.endpoint.startswith("ipc://@")
        return Path(self.endpoint.removeprefix("ipc://")) if named else None

    def _clear(self, path: Path) -> None:
        """Remove the file of a UNIX socket on which no process listens; refuse any other file."""
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(str(error.strerror)) from None
        if not stat.S_ISSOCK(mode):
            raise self._refused("the path exists and is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            # A stopped process with a full queue would never accept the connection.
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise self._refused(str(error.strerror)) from None
            else:
                raise self._refused("another process listens there")
