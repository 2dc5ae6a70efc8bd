"""
The client that must not notice anything, and its like at a server that nobody troubles.

Both servers and both clients share the machine with the attackers and with whatever else runs, so what the second
client waits is what the machine makes everybody wait: a stall of the first one counts only as far as it exceeds that.
Nor is it held against a server that its threads were ready to run, and no processor was free.
"""

from __future__ import annotations

from bisect import bisect
from contextlib import suppress
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic

from suite.stage import Failed, Program, TestBed
from trials.served import LOOK, Server

#: What a good client calls itself; see ``programs/goodclient.py``.
NAME = b"the good client"

#: A time and a later one, on the monotonic clock.
Window = tuple[float, float]


class GoodClient:
    """
    A plain client that asks one question after the other.

    :ivar asked: how many questions it has asked, once it has ended.
    :ivar wrong: how many of them were answered wrongly.
    """

    def __init__(self, stage: TestBed, endpoint: str, deed: str) -> None:
        self._program: Program = stage.python("goodclient", endpoint, deed)
        self._waits: list[tuple[float, float]] = []
        self.asked = self.wrong = 0

    def ready(self) -> GoodClient:
        """
        Wait for its first answer.

        :return: this.
        """
        self._program.until("ready")
        return self

    def end(self) -> None:
        """End it, and learn what it has seen."""
        self._program.terminate()
        self._program.wait()
        told = self._program.lines()
        if not told or not told[-1].startswith("asked"):
            raise Failed("a good client has ended without an account")
        self._waits = [(float(began), float(took)) for began, took in map(str.split, told[1:-1])]
        self.asked, self.wrong = (int(word) for word in told[-1].replace(",", "").split()[1::2])

    def waits(self, window: Window) -> list[tuple[float, float]]:
        """When it asked, and how many seconds it waited, if it waited at some time within a window."""
        first = max(bisect(self._waits, (window[0], 0.0)) - 1, 0)
        last = bisect(self._waits, (window[1], 0.0))
        return [(began, took) for began, took in self._waits[first:last] if began + took >= window[0]]

    def longest(self, window: Window) -> float:
        """The longest of these."""
        return max((took for _, took in self.waits(window)), default=0.0)

    def median(self, window: Window) -> float:
        """The median of these."""
        return median([took for _, took in self.waits(window)] or [0.0])


class Queueing:
    """
    How long the threads of a process have been ready to run while no processor was free, as Linux counts it.

    :param pid: the process, whose threads are all there.
    """

    def __init__(self, pid: int) -> None:
        self._files = sorted(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        self._times: list[float] = []
        self._delays: list[list[float]] = []
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def within(self, window: Window) -> float:
        """The seconds, within a window, of the thread that has waited longest; those of a look more at either end."""
        first = max(bisect(self._times, window[0]) - 1, 0)
        last = min(bisect(self._times, window[1]), len(self._times) - 1)
        return max(after - before for before, after in zip(self._delays[first], self._delays[last], strict=True))

    def _run(self) -> None:
        while True:
            # The server may have ended: then nothing more is judged by it.
            with suppress(OSError):
                delays = [int(each.read_text().split()[1]) / 1e9 for each in self._files]
                self._times.append(monotonic())
                self._delays.append(delays)
            if self._stop.wait(LOOK):
                return


class Neighbours:
    """
    A server with a good client, and its twin, with another, which is left alone.

    :param server: the server that is troubled.
    :param deed: what both clients ask for.
    """

    def __init__(self, stage: TestBed, server: Server, deed: str = "echo") -> None:
        # One question at a time needs one worker.
        twin = Server(stage, 1, "--max-requests=0", counts=False)
        server.ready()
        twin.ready()
        self.here = GoodClient(stage, server.frontend, deed)
        self._there = GoodClient(stage, twin.frontend, deed)
        self.here.ready()
        self._there.ready()
        self._began = monotonic()
        self._queueing = Queueing(server.pid)

    def end(self) -> None:
        """End both clients."""
        self._ended = monotonic()
        self._queueing.end()
        self.here.end()
        self._there.end()

    def waits(self, window: Window) -> list[tuple[float, float]]:
        """
        Return when the good client asked within a window, and how many seconds it waited each time.

        What its server has waited for a processor meanwhile is left out.
        """
        waits = self.here.waits(window)
        return [(began, took - self._queueing.within((began, began + took))) for began, took in waits]

    def longest(self, window: Window) -> float:
        """Return the longest of these waits, in seconds."""
        return max([0.0, *(took for _, took in self.waits(window))])

    def noise(self) -> float:
        """The longest that the client whose server is left alone has waited, in seconds."""
        return self._there.longest((self._began, self._ended))

    def noiseMedian(self, window: Window) -> float:
        """The median of what the client whose server is left alone has waited within a window, in seconds."""
        return self._there.median(window)
