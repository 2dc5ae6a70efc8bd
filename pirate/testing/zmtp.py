"""A peer that speaks ZMTP 3.0 on a plain socket, for tests of a server; it knows no command but READY."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress
from typing import Any

#: Signature, version 3.0, the NULL mechanism, not a server.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\0" + bytes(31)
MORE, LONG, COMMAND = 1, 2, 4

#: Seconds that a peer waits for the server to read or to send.
PATIENCE = 5.0


def frame(body: bytes, more: bool = False) -> bytes:
    """Return a frame of a message."""
    flags = MORE if more else 0
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return struct.pack(">BQ", flags | LONG, len(body)) + body


def message(*bodies: bytes) -> bytes:
    """Return a whole message."""
    return b"".join(frame(each, True) for each in bodies[:-1]) + frame(bodies[-1])


def command(name: bytes, body: bytes = b"") -> bytes:
    """
    Return a command frame.

    :param name: the name of the command, without its length.
    """
    whole = bytes([len(name)]) + name + body
    if len(whole) < 256:
        return bytes([COMMAND, len(whole)]) + whole
    return struct.pack(">BQ", COMMAND | LONG, len(whole)) + whole


def ready(identity: bytes | None = None, kind: bytes = b"DEALER", **more: bytes) -> bytes:
    """Return a READY command with its properties."""
    properties = {b"Socket-Type": kind, **{name.encode(): value for name, value in more.items()}}
    if identity is not None:
        properties[b"Identity"] = identity
    return command(
        b"READY",
        b"".join(
            bytes([len(name)]) + name + struct.pack(">I", len(value)) + value for name, value in properties.items()
        ),
    )


class RawPeer:
    """
    A connection whose every step is the caller's.

    Errors are not raised.  They mean that the server has closed the connection, unless it was only too slow.

    :param endpoint: a tcp or ipc endpoint.
    :ivar closed: whether the server has closed the connection, as far as has been seen by reading or sending.
    """

    def __init__(self, endpoint: str) -> None:
        self.closed = False
        if endpoint.startswith("ipc://"):
            self._socket = socket.socket(socket.AF_UNIX)
            address: Any = endpoint.removeprefix("ipc://")
        else:
            host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
            self._socket = socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET)
            address = (host.strip("[]"), int(port))
        self._socket.settimeout(PATIENCE)
        self._socket.connect(address)

    def send(self, data: bytes) -> bool:
        """
        Send bytes.

        :return: ``False`` if the server has closed the connection, or reads nothing for some seconds.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            return self._failed(error)
        return not self.closed

    def handshake(self, identity: bytes | None = None, **more: bytes) -> bool:
        """
        Exchange greetings and READY commands.

        :return: whether the server has sent both.
        """
        try:
            self._socket.sendall(GREETING)
            self._read(64)
            self._socket.sendall(ready(identity, **more))
            _, size = self._read(2)
            self._read(size)
        except OSError as error:
            return self._failed(error)
        return not self.closed

    def receive(self) -> list[bytes]:
        """Return the frames of the next message; ``[]`` at the end of the connection, or if none comes in time."""
        frames, more = [], True
        try:
            while more:
                flags = self._read(1)[0]
                size = struct.unpack(">Q", self._read(8))[0] if flags & LONG else self._read(1)[0]
                body = self._read(size)
                if not flags & COMMAND:
                    frames.append(body)
                    more = bool(flags & MORE)
        except OSError as error:
            self._failed(error)
            return []
        return frames

    def receiveRaw(self) -> bytes:
        """Return the next bytes from the wire; empty at the end of the connection, or if none come in time."""
        try:
            return self._read(None)
        except OSError as error:
            self._failed(error)
            return b""

    def awaitEnd(self, within: float) -> bool:
        """
        Wait until the server closes the connection.

        :param within: seconds.
        :return: whether it has closed the connection in time.
        """
        self._socket.settimeout(within)
        try:
            while True:
                self._read(None)
        except OSError as error:
            self._failed(error)
        finally:
            self._socket.settimeout(PATIENCE)
        return self.closed

    def awaitNothing(self, within: float) -> None:
        """Wait some seconds without reading what the server sends."""
        select.select([], [], [], within)

    def close(self, abruptly: bool = False) -> None:
        """
        Close the connection.

        :param abruptly: reset it.
        """
        if abruptly:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def _failed(self, error: OSError) -> bool:
        """Note that the connection is closed, unless the server was only too slow; return ``False``."""
        self.closed = self.closed or not isinstance(error, TimeoutError)
        return False

    def _read(self, count: int | None) -> bytes:
        """
        Read so many bytes, or as many as there are.

        :raise OSError: at the end of the connection.
        """
        data = b""
        while len(data) < (1 if count is None else count):
            chunk = self._socket.recv(1 << 16 if count is None else count - len(data))
            if not chunk:
                raise ConnectionResetError("the server has closed the connection")
            data += chunk
        return data
