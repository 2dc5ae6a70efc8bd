"""The app of real workers in histories: it does what each request says, as that of simulated workers does."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, NoReturn

from pirate.testing.world.apps import perform, performOnLoop


class RealProcess:
    """The process of a real worker; see :class:`~pirate.testing.world.apps.Performer`."""

    alive = True

    def note(self, what: str, *more: Any) -> None:
        """Do nothing: only what the server sees is compared."""

    noteLater = note

    def sleep(self, seconds: float, masked: bool = False) -> None:
        """Sleep."""
        time.sleep(seconds)

    def exitAtOnce(self, code: int) -> NoReturn:
        """End."""
        os._exit(code)

    def die(self, number: int) -> None:
        """Be killed by a signal."""
        os.kill(os.getpid(), number)

    def called(self) -> None:
        """Do nothing."""

    def writeOutput(self, data: bytes) -> None:
        """Write to the standard output."""
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def work(*frames: bytes, context: Any) -> Any:
    """Do what a request says."""
    return perform(RealProcess(), frames, context)


def workOnLoop(*frames: bytes, context: Any) -> Any:
    """Do what a request says on asyncio's loop."""
    return performOnLoop(RealProcess(), frames, context)
