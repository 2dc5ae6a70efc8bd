"""The app of the chaos runs: it writes down what it executes, then does as it is told, for good or ill."""

import os
import sys
import time
from collections.abc import Iterator

_LOG = os.environ.get("PIRATE_CHAOS_LOG", os.devnull)


class App:
    """``number``, ``deed``: the deed is done, and the number is the answer."""

    def __init__(self) -> None:
        self._log = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, number: bytes, deed: bytes) -> bytes | Iterator[bytes]:
        os.write(self._log, number + b"\n")
        if deed == b"stream":
            return self._stream(number)
        if deed == b"work":
            time.sleep(0.005)
        elif deed == b"raise":
            raise ValueError("as told")
        elif deed == b"exit":
            sys.exit(0)
        elif deed == b"hang":
            time.sleep(60)
        return number

    def _stream(self, number: bytes) -> Iterator[bytes]:
        for _ in range(3):
            yield number
