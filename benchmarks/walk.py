"""
List the Python calls of one request in the broker: ``python benchmarks/walk.py``.

A server with the default settings runs in this process, and a plain REQ client in another sends it tiny requests.
After some to warm up, every call of a Python function of the package is counted.  ``--show`` prints the functions that
one of the last requests calls, in order.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from types import FrameType
from typing import Any

CLIENT = """
import sys, zmq
socket = zmq.Context().socket(zmq.REQ)
socket.connect(sys.argv[1])
for number in range(int(sys.argv[2])):
    socket.send(b"x" * 32)
    socket.recv()
"""
WARM_UP, MEASURED = 50, 100


class Walk:
    """Records the functions of the package that are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """Record a call."""
        if event == "call":
            name = frame.f_globals.get("__name__", "")
            if name.startswith("pirate"):
                code = frame.f_code
                self.calls.append(f"{name}.{code.co_qualname}" if hasattr(code, "co_qualname") else code.co_name)


def main() -> None:
    """Run the server and the client, and print the calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="print each function that is called, in order")
    options = parser.parse_args()

    from twisted.internet import reactor
    from twisted.internet.utils import getProcessOutput

    from pirate.service import JobServer

    loop: Any = reactor
    walk = Walk()
    server = JobServer(loop, frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", app="pirate.echo.echo")

    def measure(ignored: object) -> Any:
        endpoint = server.endpoints.frontend[0]
        arguments = lambda count: ["-c", CLIENT, endpoint, str(count)]  # noqa: E731
        done = getProcessOutput(sys.executable, arguments(WARM_UP), reactor=loop)

        def second(ignored: object) -> Any:
            sys.setprofile(walk.note)
            return getProcessOutput(sys.executable, arguments(MEASURED), reactor=loop)

        done.addCallback(second)
        return done

    def end(result: object) -> None:
        sys.setprofile(None)
        server.stopService().addBoth(lambda ignored: loop.stop())

    server.startService()
    server.whenReady().addCallback(measure).addBoth(end)
    loop.run()
    report(walk.calls, options.show)


def report(calls: list[str], show: bool) -> None:
    """Print how many calls a request takes, and how often each function is called or, with ``show``, the order."""
    names = Counter(calls)
    print(f"{len(calls) / MEASURED:.1f} calls a request")
    for name, count in names.most_common() if not show else ():
        print(f"{count / MEASURED:6.2f} {name}")
    starts = [index for index, name in enumerate(calls) if name.endswith(".clientMessageReceived")]
    for name in calls[starts[-3] - 4 : starts[-1] + 2] if show else ():
        print(name)


if __name__ == "__main__":
    main()
