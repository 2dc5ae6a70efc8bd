"""
``twistd`` with a pirate whose transport counts: messages of each turn, and the credits that its workers announce.

The first argument is the file to write to, the others are twistd's.  ``suite/turns.py`` describes the file.  The server
is the same in all else: only the two ends of its transport are wrapped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from pirate.wire.backend import PackedReplies, Status, parseWorkerMessage
from pirate.wire.words import EXITING, PACK, WAITING

#: Seconds between two lines.
INTERVAL = 0.1
LEGS = ("fromClients", "toWorkers", "fromWorkers", "toClients")


class Trace:
    """
    Counts, and writes a line now and then.

    :param file: where to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._messages = dict.fromkeys(LEGS, 0)
        self._turns = dict.fromkeys(LEGS, 0)
        self._atTurn = dict(self._messages)
        self._count = self._announced = 0
        self._longest = 0.0
        self._began: float | None = None
        #: The lowest credit of each worker since the last line, and the last one.
        self._credits: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        """A turn begins."""
        self._endTurn()
        self._began = monotonic()

    def end(self) -> None:
        """A turn has ended."""
        self._endTurn()

    def count(self, leg: str) -> None:
        """Count a message."""
        self._messages[leg] += 1

    def announced(self, worker: str, credit: int) -> None:
        """A worker has told how many requests it may hold."""
        self._announced += 1
        lowest, _ = self._credits.get(worker, (credit, credit))
        self._credits[worker] = (min(lowest, credit), credit)

    def left(self, worker: str) -> None:
        """A worker has left."""
        self._credits.pop(worker, None)

    def write(self) -> None:
        """Write a line."""
        line: dict[str, Any] = {"at": monotonic(), "turns": self._count, "announced": self._announced}
        line.update(self._messages)
        line.update({f"{leg}Turns": turns for leg, turns in self._turns.items()})
        line.update({"longest": self._longest, "credits": self._credits})
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._longest = 0.0
        self._credits = {worker: (now, now) for worker, (_, now) in self._credits.items()}

    def _endTurn(self) -> None:
        if self._began is not None:
            self._longest = max(self._longest, monotonic() - self._began)
            self._began = None
        legs = [leg for leg in LEGS if self._messages[leg] != self._atTurn[leg]]
        for leg in legs:
            self._turns[leg] += 1
            self._atTurn[leg] = self._messages[leg]
        self._count += bool(legs)


class TracedEvents:
    """The receiver of a transport's events, all of which it passes on."""

    def __init__(self, events: Any, trace: Trace) -> None:
        self._events = events
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def turnStarted(self) -> Any:
        """A turn begins."""
        self._trace.begin()
        return self._events.turnStarted()

    def clientMessageReceived(self, frames: list[Any]) -> Any:
        """Count a client's message."""
        self._trace.count("fromClients")
        return self._events.clientMessageReceived(frames)

    def workerMessageReceived(self, frames: list[Any]) -> Any:
        """Count a worker's message, and note the credit that it announces."""
        packed = parseWorkerMessage(frames) if len(frames) == 3 and frames[1] == PACK else None
        for _ in packed.requests if isinstance(packed, PackedReplies) else (None,):
            self._trace.count("fromWorkers")
        # A status is a delimiter, a word and perhaps an announcement: of a request's few frames none is so short.
        if len(frames) in (3, 4) and not frames[1]:
            told = parseWorkerMessage(frames)
            if isinstance(told, Status):
                if told.word == EXITING:
                    self._trace.left(told.worker.decode(errors="replace"))
                elif told.word == WAITING and told.info is not None:
                    self._trace.announced(told.worker.decode(errors="replace"), told.info.credit)
        return self._events.workerMessageReceived(frames)


def install(trace: Trace) -> None:
    """Replace the class of transports by one that counts."""
    from twisted.internet import reactor as _reactor

    from pirate.transport import sockets

    reactor: Any = _reactor

    class TracedTransport(sockets.SocketTransport):
        """A transport that counts the messages of each turn."""

        def start(self, events: Any, *rest: Any) -> None:
            """Count what is received, and write a line now and then."""
            super().start(TracedEvents(events, trace), *rest)
            self._writeOn()

        def _writeOn(self) -> None:
            trace.write()
            reactor.callLater(INTERVAL, self._writeOn)

        def takeTurn(self, *given: Any) -> None:
            """Note how long a turn is."""
            super().takeTurn(*given)
            trace.end()

        def toClient(self, frames: Sequence[Any]) -> bool:
            """Count a message."""
            trace.count("toClients")
            return super().toClient(frames)

        def postToClient(self, frames: Sequence[Any]) -> None:
            """Count a message."""
            trace.count("toClients")
            super().postToClient(frames)

        def toWorker(self, frames: Sequence[Any]) -> bool:
            """Count a message."""
            trace.count("toWorkers")
            return super().toWorker(frames)

        def postToWorker(self, frames: Sequence[Any]) -> None:
            """Count a message."""
            trace.count("toWorkers")
            super().postToWorker(frames)

        def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
            """Count requests, which may go in one message."""
            for _ in requests:
                trace.count("toWorkers")
            super().postRequests(worker, requests, bodies)

    sockets.SocketTransport = TracedTransport  # type: ignore[misc]


def main(path: str, *arguments: str) -> None:
    """Be twistd."""
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", *arguments]
    with Path(path).open("w") as file:
        install(Trace(file))
        run()


if __name__ == "__main__":
    main(*sys.argv[1:])
