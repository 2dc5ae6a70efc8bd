"""The app of the trials, ``trialapp.App``: it records what it executes, then does what it is told."""

import gc
import os
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import zmq

#: The environment variables that name the file of the executions, and the file of the processes left behind.
LOG, FORKED = "PIRATE_TRIAL_LOG", "PIRATE_TRIAL_FORKED"

#: Seconds of ``work``, of ``hang`` and of a process that ``fork`` leaves behind.
WORK, HANG, LEFT = 0.002, 60, 30
#: Lines of ``print`` and of the text of ``lines``.
LINES = 100_000
#: Seconds of ``babble``.
BABBLE = 3

#: What ``malformed`` sends to the broker in place of a reply; ``ID`` stands for the request's id.
ID = b"the id"
MALFORMED: tuple[list[bytes], ...] = (
    [b"", ID, b""],
    [b"", ID],
    [b"", ID, b"", b""],
    [b"", ID, b"partial"],
    [b"", ID, b"error"],
    [b"", ID, b"error", b""],
    [b"", ID, b"error", b"\xff", b"\xff"],
    [b"", ID, b"\xff" * 8, b"body"],
    [b""],
    [b"", b""],
    [b"no delimiter"],
    [b"", b"\xff"],
    [b"", b"\xff" * 8, b""],
    [b"", b"\xff" * 8, b"", b"nobody asked"],
    [b"", b"waiting", b"{"],
    [b"", b"waiting", b"{}", b"{}", b"{}"],
    [b"", b"nonsense"],
    [b"", b"cancel", ID],
    [b""] * 40,
    [b"pack", b""],
    [b"pack", b"\x01"],
    [b"pack", b"\xff" * 5000],
    [b"pack", b"\x02" + b"\xff" * 16 + b"\x00\x01\x00\x01" + b"a"],
    [b"pack", b"\x01" + b"\xff" * 8 + b"\x00\x01" + b"a"],
    [b"pack", b"\x02" + b"\xff" * 16 + b"\x00\x01\x00\x01" + b"ab"],
    [b"", b"pack", b"\x01"],
    [b"pack", b"\x01", b"more"],
)


class App:
    """
    ``number``, ``deed`` and the deed's arguments: the deed is done, and the number is the answer.

    A single frame is ``number deed``: only such a request can be packed.
    """

    def __init__(self) -> None:
        self._log = os.open(os.environ.get(LOG, os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, number: bytes, deed: bytes = b"", *arguments: bytes) -> bytes | Iterator[bytes]:
        if not deed:
            number, deed = number.split()
        os.write(self._log, number + b"\n")
        if deed == b"stream":
            return self._stream(number)
        if deed != b"echo":
            getattr(self, deed.decode())(*arguments)
        return number

    def _stream(self, number: bytes) -> Iterator[bytes]:
        for _ in range(3):
            yield number

    def work(self, seconds: bytes = b"") -> None:
        """Take some time."""
        time.sleep(float(seconds or WORK))

    def fail(self) -> None:
        """Raise."""
        raise ValueError("as told")

    def exit(self) -> None:
        """End the worker in an orderly way."""
        sys.exit(0)

    def hang(self) -> None:
        """Take far too long."""
        time.sleep(HANG)

    def print(self) -> None:
        """Print very many lines."""
        for number in range(LINES):
            print("line", number)

    def babble(self) -> None:
        """Write empty lines for some seconds, as fast as they are taken."""
        end = time.monotonic() + BABBLE
        while time.monotonic() < end:
            os.write(2, b"\n" * 4096)

    def lines(self) -> None:
        """Raise an error whose text has very many lines."""
        raise ValueError("\n" * LINES)

    def fork(self) -> None:
        """Leave a process behind that outlives the worker, with all that the worker has open."""
        pid = os.fork()
        if not pid:
            time.sleep(LEFT)
            os._exit(0)
        with open(os.environ[FORKED], "a") as file:
            file.write(f"{pid}\n")

    def malformed(self, which: bytes) -> None:
        """Send the broker a message that no worker should send, from under this very request."""
        [dealer] = [each for each in gc.get_objects() if isinstance(each, zmq.Socket) and each.type == zmq.DEALER]
        request = _requestId(sys._getframe())
        shape = MALFORMED[int(which) % len(MALFORMED)]
        dealer.send_multipart([request if each is ID else each for each in shape])


def _requestId(frame: FrameType | None) -> bytes:
    """Find the id of the request that is executed, among the variables of who has called: eight bytes, from 0x80."""
    while frame is not None:
        for value in frame.f_locals.values():
            for each in value if isinstance(value, list | tuple) else [value]:
                if _isId(each):
                    found: bytes = each
                    return found
        frame = frame.f_back
    raise LookupError("there is no request's id in sight")


def _isId(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == 8 and value[0] >= 0x80
