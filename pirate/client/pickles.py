"""Calls of functions as payloads, pickled: the client's side of ``pirate.pickled``."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from pirate.pickled import CALL, RAISED, RETURNED


class Pickle:
    """
    A ``Codec``: a function with its arguments is a request, and a reply what it returned or raised.

    To unpickle is to run what the other side says, so both must be trusted, and nobody may be between them.
    """

    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        """
        See ``Codec``.

        :param values: the function, a tuple of its arguments, and a dictionary of its keyword arguments.
        """
        return [CALL, pickle.dumps(values, pickle.HIGHEST_PROTOCOL)]

    def decode(self, frames: Sequence[bytes]) -> Any:
        """
        See ``Codec``.

        :raise ValueError: if the server's app is not ``pirate.pickled.app``.
        """
        if len(frames) != 2 or frames[0] not in (RETURNED, RAISED):
            raise ValueError("the server does not unpickle calls: its app must be pirate.pickled.app")
        value = pickle.loads(frames[1])
        if frames[0] == RAISED:
            raise value
        return value
