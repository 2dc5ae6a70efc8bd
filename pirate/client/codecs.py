"""Codecs: from a caller's values to the frames of a request, and from the frames of a reply to a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pirate.errors import ConfigurationError

#: What a caller may pass as a frame.
Frame = bytes | bytearray | memoryview
#: The names of the codecs that come with the client.
CodecName = Literal["bytes", "frames", "json", "msgpack"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    #: What a client returns for a reply: its codec decides.  ``Client`` in an annotation means ``Client[bytes]``.
    Reply = TypeVarWithDefault("Reply", default=bytes)
else:
    Reply = TypeVar("Reply")

Reply_co = TypeVar("Reply_co", covariant=True)


class Codec(Protocol[Reply_co]):
    """Encodes requests and decodes replies; any object with these two methods will do."""

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """
        Return the frames of a request.

        :param values: the positional arguments of the call.
        :return: at least one frame.
        """

    def decode(self, frames: Sequence[bytes]) -> Reply_co:
        """
        Return the value of a reply, or of one part of it.

        :param frames: at least one frame.
        :raise ValueError: if this codec cannot decode them.
        """


class FrameCodec:
    """Leaves frames as they are: a reply is the list of its frames."""

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """See :class:`Codec`."""
        return toFrames(values)

    def decode(self, frames: Sequence[bytes]) -> list[bytes]:
        """See :class:`Codec`."""
        return list(frames)


class BytesCodec:
    """Leaves frames as they are: a reply is the bytes of its one frame."""

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """See :class:`Codec`."""
        # The usual case of ``toFrames``.
        return [values[0]] if len(values) == 1 and type(values[0]) is bytes else toFrames(values)

    def decode(self, frames: Sequence[bytes]) -> bytes:
        """
        See :class:`Codec`.

        :raise ValueError: if there are several frames.
        """
        if len(frames) != 1:
            raise ValueError(f"the reply has {len(frames)} frames: codec='frames' returns them as a list")
        return frames[0]


class ValueCodec:
    """
    Encodes each value as one frame, and decodes each frame to one value; an empty frame decodes to ``None``.

    A reply of several frames is a list of values.

    :param name: the format, for error messages.
    :param dumps: encodes a value.
    :param loads: decodes bytes, or raises ``ValueError``.
    """

    def __init__(self, name: str, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]) -> None:
        self._name = name
        self._dumps = dumps
        self._loads = loads

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """See :class:`Codec`."""
        if not values:
            raise TypeError("a request has at least one value")
        return [self._dumps(value) for value in values]

    def decode(self, frames: Sequence[bytes]) -> Any:
        """
        See :class:`Codec`.

        :raise ValueError: if a frame is not in the format.
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


def _json() -> Codec[Any]:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    return ValueCodec("JSON", lambda value: encode(value).encode(), json.loads)


def _msgpack() -> Codec[Any]:
    try:
        import msgpack
    except ImportError:
        raise ConfigurationError("codec 'msgpack' needs the package msgpack: pip install 'pirate[msgpack]'") from None
    return ValueCodec("msgpack", msgpack.packb, msgpack.unpackb)


_BY_NAME: dict[str, Callable[[], Codec[Any]]] = {
    "bytes": BytesCodec,
    "frames": FrameCodec,
    "json": _json,
    "msgpack": _msgpack,
}


def newCodec(value: str | Codec[Any]) -> Codec[Any]:
    """
    Return a codec.

    :param value: the name of a codec, or an object that is one.
    :raise ConfigurationError: if it is neither, or if the package it needs is not installed.
    """
    if isinstance(value, str):
        if value in _BY_NAME:
            return _BY_NAME[value]()
    elif callable(getattr(value, "encode", None)) and callable(getattr(value, "decode", None)):
        return value
    names = ", ".join(repr(name) for name in _BY_NAME)
    raise ConfigurationError(f"invalid codec {value!r}: use {names}, or an object with the methods of Codec")


def toFrames(values: tuple[Frame, ...]) -> list[bytes]:
    """
    Return values as the frames of a request, and copy those that could change before it is sent again.

    :raise TypeError: if there is no value, or one is not bytes.
    """
    if len(values) == 1 and type(values[0]) is bytes:
        return [values[0]]
    if not values:
        raise TypeError("a request has at least one frame: call(b'') sends an empty one")
    for value in values:
        if not isinstance(value, Frame):
            raise TypeError(
                f"a frame is bytes, not {type(value).__name__}: encode text, and pass each frame as its own argument"
            )
    return [bytes(value) for value in values]
