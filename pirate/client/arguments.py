"""What a client may be given: each check returns the value in its one form, or says what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pirate.errors import ConfigurationError
from pirate.wire.words import MAX_SERVICE

_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")

#: What a caller may give as a frame.
Frame = bytes | bytearray | memoryview

#: Where a server listens unless told otherwise.
DEFAULT_ENDPOINT = "tcp://127.0.0.1:6660"
#: The longest time a call may be given, in seconds: what the header can carry.
MAX_TIMEOUT = 1e9
#: The most times that a request may be sent.
MAX_ATTEMPTS = 1000
#: The longest traceparent, in characters: what the header can carry.
MAX_TRACE = 512
#: The longest identity, in bytes: ZeroMQ's 255 less room for the number that a replaced socket adds.
MAX_IDENTITY = 240


def endpoint(value: str | int) -> str:
    """
    The endpoint of a server, as ZeroMQ writes it.

    :param value: a port of the loopback interface (``6660`` or ``"6660"``), ``host:port``, ``tcp://host:port`` or
        ``ipc://path``.
    :raise ConfigurationError: if it is none of these.
    """
    text = str(value).strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", f"127.0.0.1:{text}" if text.isdecimal() else text
    if text.isprintable() and " " not in text and _isAddress(scheme, rest):
        return f"{scheme}://{rest}"
    raise ConfigurationError(
        f"endpoint {value!r} is not right: give a port (6660), host:port, tcp://host:port or ipc://path"
    )


def endpoints(value: str | int | Iterable[str | int]) -> tuple[str, ...]:
    """
    One endpoint, or several of which each is as good as another.

    :param value: what ``endpoint`` takes, or a sequence of it.
    :raise ConfigurationError: if one is not right, or there is none.
    """
    isOne = isinstance(value, (str, bytes)) or not isinstance(value, Iterable)
    several: tuple[Any, ...] = (value,) if isOne else tuple(value)  # type: ignore[arg-type]
    found = tuple(dict.fromkeys(endpoint(each) for each in several))
    if not found:
        raise ConfigurationError("endpoint [] is not right: give at least one")
    return found


def isLocal(value: str) -> bool:
    """Whether nobody on the way to an endpoint, as ``endpoint`` gives it, can read or change what is sent."""
    host = value.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return value.startswith("ipc://") or host in ("localhost", "::1") or _LOOPBACK.fullmatch(host) is not None


def _isAddress(scheme: str, rest: str) -> bool:
    if scheme != "tcp":
        return scheme == "ipc" and rest != ""
    host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        return False
    return host.startswith("[") and host.endswith("]") if ":" in host else host != "*" and _isHost(host)


def _isHost(host: str) -> bool:
    """Whether it can be looked up: what has no form of a name makes that fail in ways of its own."""
    return host.isascii() and all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


def seconds(value: float) -> float:
    """
    A time limit.

    :param value: seconds, above 0 and at most ``MAX_TIMEOUT``.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT:
        return float(value)
    raise ConfigurationError(
        f"timeout {value!r} is not right: give a number of seconds above 0 and up to {MAX_TIMEOUT:g}"
    )


def attempts(value: int) -> int:
    """
    Check how many times a request may be sent in all.

    :param value: 1 to ``MAX_ATTEMPTS``; 1 sends it once and never again.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ATTEMPTS:
        return value
    raise ConfigurationError(f"attempts {value!r} is not right: give a whole number, 1 to {MAX_ATTEMPTS}")


def identity(value: bytes | None) -> bytes | None:
    """
    A name for the client's connection; ``None`` leaves it to ZeroMQ, which never gives one twice.

    :param value: 1 to ``MAX_IDENTITY`` bytes, of which the first is not 0: those are ZeroMQ's own.
    :raise ConfigurationError: if it is not.
    """
    if value is None or (isinstance(value, bytes) and 0 < len(value) <= MAX_IDENTITY and value[0] != 0):
        return value
    raise ConfigurationError(
        f"identity {value!r} is not right: give 1 to {MAX_IDENTITY} bytes that do not begin with a zero byte, or none"
    )


def service(value: str) -> str:
    """
    The name of a service; empty for the unnamed one.

    :param value: at most ``MAX_SERVICE`` characters.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, str) and len(value) <= MAX_SERVICE:
        return value
    raise ConfigurationError(f"service {value!r} is not right: give a text of at most {MAX_SERVICE} characters")


def request(value: bytes) -> bytes:
    """
    The id of a request.

    :param value: 16 bytes.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, bytes) and len(value) == 16:
        return value
    raise ConfigurationError(f"request {value!r} is not right: give the id that its future or its error has, 16 bytes")


def trace(value: str) -> str:
    """
    A W3C traceparent; empty for none.

    :param value: at most ``MAX_TRACE`` characters.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, str) and len(value) <= MAX_TRACE:
        return value
    raise ConfigurationError(f"trace {value!r} is not right: give a text of at most {MAX_TRACE} characters")


def body(frames: tuple[Frame, ...]) -> list[bytes]:
    """
    The frames of a request, copied if they could change before a retry.

    :raise TypeError: if there is none, or if one is not bytes.
    """
    if len(frames) == 1 and type(frames[0]) is bytes:
        return [frames[0]]
    if not frames:
        raise TypeError("a request has at least one frame: call(b'') sends an empty one")
    for frame in frames:
        if not isinstance(frame, Frame):
            raise TypeError(
                f"a frame is bytes, not {type(frame).__name__}: encode text, and give each frame as its own argument"
            )
    return [bytes(frame) for frame in frames]
