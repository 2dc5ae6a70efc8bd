"""The endpoints that a server binds, and their short forms."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pirate.errors import ConfigurationError

#: The address of an endpoint that is only a port.
LOOPBACK = "127.0.0.1"
#: The longest path of a UNIX socket that libzmq accepts, in bytes.
MAX_IPC_PATH = 107


def canonicalEndpoint(given: str | int) -> str:
    """
    Return a ZeroMQ endpoint in full.

    :param given: a port of the loopback interface (``*`` for a free one), ``host:port``, ``tcp://host:port`` or
        ``ipc://path``; an IPv6 address must be in brackets.
    :raise ConfigurationError: if the text is none of these.
    """
    text = str(given).strip()
    if not text.isprintable():
        raise ConfigurationError(f"endpoint {text!r}: must be a port, host:port, tcp://host:port or ipc://path")
    if text.startswith("ipc://"):
        return _ipc(text)
    if "://" in text and not text.startswith("tcp://"):
        raise ConfigurationError(f"endpoint {text!r}: the transport must be tcp:// or ipc://")
    host, colon, port = text.removeprefix("tcp://").rpartition(":")
    if not colon and "://" not in text:
        host = LOOPBACK
    return f"tcp://{_host(host, text)}:{_port(port, text)}"


def isPublic(endpoint: str) -> bool:
    """
    Return whether other machines can reach an endpoint.

    :param endpoint: an endpoint as :func:`canonicalEndpoint` returns it.
    """
    if endpoint.startswith("ipc://"):
        return False
    host = hostOf(endpoint).strip("[]")
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def hostOf(endpoint: str) -> str:
    """Return the host of a TCP endpoint, with the brackets of an IPv6 address."""
    return endpoint.removeprefix("tcp://").rpartition(":")[0]


def portOf(endpoint: str) -> str:
    """Return the port of an endpoint, or the file name of its UNIX socket."""
    return endpoint.rpartition("/" if endpoint.startswith("ipc://") else ":")[2]


def _ipc(text: str) -> str:
    path = text.removeprefix("ipc://")
    if not path or path.startswith("@"):
        raise ConfigurationError(f"endpoint {text!r}: must have a path after ipc://, as in ipc:///run/pirate/frontend")
    path = str(Path(path).absolute())
    if len(path.encode()) > MAX_IPC_PATH:
        raise ConfigurationError(f"endpoint {text!r}: the path must not be longer than {MAX_IPC_PATH} bytes")
    return f"ipc://{path}"


def _host(host: str, text: str) -> str:
    bare = host.removeprefix("[").removesuffix("]")
    if not bare:
        raise ConfigurationError(f"endpoint {text!r}: must be a port, host:port, tcp://host:port or ipc://path")
    if ":" in bare or host != bare:
        if host != f"[{bare}]":
            raise ConfigurationError(f"endpoint {text!r}: an IPv6 address must be in brackets, as in [::1]:6660")
        try:
            ipaddress.IPv6Address(bare.partition("%")[0])
        except ValueError:
            raise ConfigurationError(f"endpoint {text!r}: {bare!r} is not an IPv6 address") from None
    return host


def _port(port: str, text: str) -> str:
    if port == "*":
        return port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ConfigurationError(f"endpoint {text!r}: the port must be 1 to 65535, or * for a free one")
    return port if int(port) else "*"
