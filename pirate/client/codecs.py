"""How a caller's values become the frames of a request, and those of a reply a value again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from pirate.client import arguments
from pirate.errors import ConfigurationError


class Codec(Protocol):
    """What a client asks of a codec; one of your own will do."""

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """The frames of a request, one for each argument of the call: one at least."""

    def decode(self, frames: Sequence[bytes]) -> Any:
        """The value of a reply, or of a part of one: one frame at least."""


class Bytes:
    """Frames as they are: a reply of one frame is ``bytes``, one of several is a list of them."""

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """See ``Codec``."""
        return arguments.body(values)

    def decode(self, frames: Sequence[bytes]) -> Any:
        """See ``Codec``."""
        return frames[0] if len(frames) == 1 else list(frames)


class EachFrame:
    """
    Each value is a frame, and each frame a value; a reply of several frames is a list.  An empty frame is ``None``.

    :param dumps: makes a value bytes.
    :param loads: the reverse; it raises ``ValueError`` for what it does not understand.
    """

    def __init__(self, name: str, dumps: Any, loads: Any) -> None:
        self._name = name
        self._dumps = dumps
        self._loads = loads

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """See ``Codec``."""
        if not values:
            raise TypeError("a request has at least one value")
        return [self._dumps(value) for value in values]

    def decode(self, frames: Sequence[bytes]) -> Any:
        """
        See ``Codec``.

        :raise ValueError: if a frame is not what this codec makes.
        """
        values = [self._value(frame) for frame in frames]
        return values[0] if len(values) == 1 else values

    def _value(self, frame: bytes) -> Any:
        if not frame:
            return None
        try:
            return self._loads(frame)
        except ValueError as error:
            raise ValueError(f"the reply is not {self._name}: {error}") from error


def _json() -> Codec:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    return EachFrame("JSON", lambda value: encode(value).encode(), json.loads)


def _msgpack() -> Codec:
    try:
        import msgpack
    except ImportError:
        raise ConfigurationError("codec 'msgpack' needs the package msgpack: pip install 'pirate[msgpack]'") from None
    return EachFrame("msgpack", msgpack.packb, msgpack.unpackb)


_BY_NAME = {"bytes": Bytes, "json": _json, "msgpack": _msgpack}


def codec(value: str | Codec) -> Codec:
    """
    A codec.

    :param value: ``bytes``, ``json``, ``msgpack``, or an object that is one.
    :raise ConfigurationError: if it is none of these, or what it needs is not installed.
    """
    if isinstance(value, str):
        if value in _BY_NAME:
            return _BY_NAME[value]()
    elif callable(getattr(value, "encode", None)) and callable(getattr(value, "decode", None)):
        return value
    raise ConfigurationError(f"codec {value!r} is not right: give {', '.join(_BY_NAME)}, or an object that is a Codec")
