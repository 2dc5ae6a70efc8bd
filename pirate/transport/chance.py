"""The C library's random numbers, made unpredictable."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress


def seedLibrary() -> None:
    """
    Seed ``rand`` from the system's randomness, where there is such a function.

    libzmq takes from it the first of the numbers by which a ROUTER calls the peers that have no name of their own, and
    does not seed it.  A peer that claims such a number as its name before its turn comes ends the whole process, in an
    assertion of libzmq's; unseeded, the first number is the same in every process.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "little"))
