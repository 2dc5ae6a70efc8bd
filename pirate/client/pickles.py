"""Function calls as payloads, pickled: the client's side of :mod:`pirate.pickled`."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from io import BytesIO
from types import FunctionType
from typing import Any

from pirate.pickled import CALL, RAISED, RETURNED

_MAIN = "__main__"


class RemoteTraceback(Exception):
    """The traceback of an exception in a worker, as text: the ``__cause__`` of that exception in the caller."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class PickleCodec:
    """
    A codec whose request is a function with its arguments, and whose reply is what the function returned or raised.

    Unpickling runs whatever the other side has pickled, so each side must trust the other and the network between them.
    """

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """
        Return the frames of a request; see :class:`~pirate.client.codecs.Codec`.

        :param values: the function, a tuple of its arguments, and a dictionary of its keyword arguments.
        :raise TypeError: if the function, or something in its arguments, is defined in the main program, which the
            workers cannot import.
        """
        _rejectMain(values[0])
        data = pickle.dumps(values, pickle.HIGHEST_PROTOCOL)
        if _MAIN.encode() in data:
            # The name may as well be a text among the arguments.
            _MainFinder(BytesIO(), pickle.HIGHEST_PROTOCOL).dump(values)
        return [CALL, data]

    def decode(self, frames: Sequence[bytes]) -> Any:
        """
        Return what the function returned, or raise what it raised; see :class:`~pirate.client.codecs.Codec`.

        :raise ValueError: if the server's app is not ``pirate.pickled.app``.
        """
        if len(frames) == 2 and frames[0] == RETURNED:
            return pickle.loads(frames[1])
        if len(frames) == 3 and frames[0] == RAISED:
            error = pickle.loads(frames[1])
            error.__cause__ = RemoteTraceback(frames[2].decode(errors="replace"))
            raise error
        raise ValueError("the server does not run pickled calls: its app must be pirate.pickled.app")


class _MainFinder(pickle.Pickler):
    """Pickles a value, and raises ``TypeError`` if it refers to a class or a function of the main program."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType):
            _rejectMain(value)
        return NotImplemented


def _rejectMain(value: Any) -> None:
    if getattr(value, "__module__", None) == _MAIN:
        name = getattr(value, "__qualname__", repr(value))
        raise TypeError(
            f"{name} is defined in the main program, which the workers cannot import: move it to a module of its own"
        )
