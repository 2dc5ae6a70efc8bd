"""One bound endpoint: made with care, reported in full, and gone without a trace."""

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
    One endpoint of a socket.

    A UNIX socket is made with mode 0700; one that nobody listens on any more is replaced, one that is in use is not.
    One whose name begins with ``@`` has no file: it goes with the last process that has it open.

    :param socket: a ZeroMQ socket.
    :param name: what the socket is called in messages: ``frontend`` or ``backend``.
    :ivar endpoint: a full endpoint.
    """

    def __init__(self, socket: Any, name: str, endpoint: str) -> None:
        self.socket = socket
        self._name = name
        self.endpoint = endpoint
        self._bound = ""

    def bind(self) -> str:
        """
        Bind the endpoint.

        :return: the endpoint as it is, with its port.
        :raise BindError: naming the endpoint and what is in the way.
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
        """Remove the file of a UNIX socket that was bound, once the ZeroMQ socket is closed."""
        path = self._path() if self._bound else None
        if path is not None:
            # It may be in a directory that is out of reach since privileges were dropped.
            with suppress(OSError):
                path.unlink()

    def _refused(self, reason: str) -> BindError:
        return BindError(f"{self._name} {self.endpoint}: {reason}")

    def _path(self) -> Path | None:
        named = self.endpoint.startswith("ipc://") and not self.endpoint.startswith("ipc://@")
        return Path(self.endpoint.removeprefix("ipc://")) if named else None

    def _clear(self, path: Path) -> None:
        """Make sure that a path is free, or holds a socket that nobody listens on."""
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(str(error.strerror)) from None
        if not stat.S_ISSOCK(mode):
            raise self._refused("there is a file that is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            # One that is stopped and has many who wait would let nobody in.
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise self._refused(str(error.strerror)) from None
            else:
                raise self._refused("another server listens there")
