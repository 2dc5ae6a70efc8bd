"""Clients with a native header, which keep requests under way and check each one off."""

from __future__ import annotations

import os
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

import zmq

from pirate.testing.world.invariants.register import named
from pirate.wire.frontend import header, parseHeader

#: Gives each request of this process another number.
numbers = count(1)


@dataclass
class Answers:
    """
    What became of a load's requests.

    :ivar outcomes: ``reply`` or the error's code.
    :ivar longest: the longest that a request has waited, in seconds, those without an answer among them.
    :ivar unanswered: requests that had no answer at the end.
    :ivar foreign: replies that were another request's.
    :ivar doubled: answers to what was answered before, or was never asked.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    unanswered: int = 0
    foreign: int = 0
    doubled: int = 0

    def total(self) -> int:
        """How many requests were answered."""
        return self.outcomes.total()

    def faults(self, limit: float) -> Iterator[str]:
        """
        Say what is wrong with the answers, whatever the load asks for.

        :param limit: seconds that a request may wait.
        """
        if self.unanswered:
            yield named(2, f"{self.unanswered} requests had no answer after up to {self.longest:.1f} s")
        elif self.longest > limit:
            yield f"a request waited {self.longest:.1f} s, above {limit:.1f} s"
        if self.foreign:
            yield named(3, f"{self.foreign} replies were another request's")
        if self.doubled:
            yield named(57, f"{self.doubled} answers to nothing")


class NativeLoad:
    """
    One client, a DEALER in a thread of its own, that asks again as soon as it has an answer.

    :param ask: gives the deed of the next request, and its arguments.
    :param outstanding: how many requests it keeps under way.
    :param patience: seconds that it waits for the last answers when it is to end.
    """

    def __init__(
        self, endpoint: str, ask: Callable[[], tuple[bytes, ...]], outstanding: int, patience: float = 3
    ) -> None:
        self._endpoint = endpoint
        self._ask = ask
        self._outstanding = outstanding
        self._patience = patience
        self._open: dict[bytes, tuple[bytes, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers = Answers()

    def __enter__(self) -> NativeLoad:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with dealer(self._endpoint) as socket:
            end = float("inf")
            while monotonic() < end and (self._open or not self._stop.is_set()):
                if self._stop.is_set():
                    end = min(end, monotonic() + self._patience)
                else:
                    self._send(socket)
                if socket.poll(20):
                    self._receive(socket)
        waits = [monotonic() - began for _, began in self._open.values()]
        self.answers.unanswered = len(waits)
        self.answers.longest = max([self.answers.longest, *waits])

    def _send(self, socket: Any) -> None:
        while len(self._open) < self._outstanding:
            number = b"%d" % next(numbers)
            requestId = os.urandom(16)
            self._open[requestId] = (number, monotonic())
            socket.send_multipart([header(requestId, {}), b"", number, *self._ask()])

    def _receive(self, socket: Any) -> None:
        answers = self.answers
        while socket.poll(0):
            parsed = parseHeader((frames := socket.recv_multipart())[0])
            asked = None if parsed is None else self._open.pop(parsed[0], None)
            if asked is None or parsed is None:
                answers.doubled += 1
                continue
            number, began = asked
            outcome = str(parsed[1].get("code", "reply"))
            answers.outcomes[outcome] += 1
            answers.longest = max(answers.longest, monotonic() - began)
            if outcome == "reply" and frames[2:] != [number]:
                answers.foreign += 1


class Flood:
    """
    One asynchronous client that sends very many requests at once, and takes their answers as they come.

    :param native: whether its requests have a header.
    """

    def __init__(self, endpoint: str, requests: int, deed: bytes, native: bool) -> None:
        self._endpoint = endpoint
        self._requests = requests
        self._deed = deed
        self._native = native
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with dealer(self._endpoint, sndhwm=0, rcvhwm=0) as socket:
            for number in range(self._requests):
                envelope = [header(struct.pack(">QQ", id(self), number), {})] if self._native else []
                socket.send_multipart([*envelope, b"", b"0", self._deed])
            while not self._stop.is_set():
                while socket.poll(20):
                    socket.recv_multipart()
                    self.answered += 1
                    if self._stop.is_set():
                        break


@contextmanager
def dealer(endpoint: str, **options: Any) -> Iterator[Any]:
    """A DEALER with a context of its own, so that its connection is closed at once when it is left."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(endpoint)
    try:
        yield socket
    finally:
        context.destroy(0)


def askOnce(endpoint: str, deed: bytes, *arguments: bytes, within: float, **options: Any) -> dict[str, Any] | None:
    """
    Ask natively, and wait.

    :param options: the header's JSON keys.
    :return: the JSON keys of the answer; ``None`` if there is none in time.
    """
    with dealer(endpoint) as socket:
        socket.send_multipart([header(os.urandom(16), options), b"", b"%d" % next(numbers), deed, *arguments])
        if not socket.poll(int(within * 1000)):
            return None
        parsed = parseHeader(socket.recv_multipart()[0])
        return None if parsed is None else parsed[1]
