"""asyncio's own loop on the world's clock, in the process of a simulated worker."""

from __future__ import annotations

import asyncio
import signal
from asyncio import _set_running_loop, events
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from selectors import EVENT_READ, BaseSelector, SelectorKey
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pirate.testing.world.processes import SimulatedProcess


class WorldSelector(BaseSelector):
    """
    A selector that lets the world go on until a simulated descriptor is readable, or a time has passed.

    :param process: the process.
    """

    def __init__(self, process: SimulatedProcess) -> None:
        self._process = process
        self._keys: dict[Any, SelectorKey] = {}
        #: Whether the loop has something to do at once, such as what the handler of a signal has asked for.
        self.isDue: Callable[[], bool] = lambda: False

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch a descriptor."""
        key = self._keys[fileobj] = SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Stop that."""
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """Return what is watched."""
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait until a descriptor is readable, or the time has passed, and return the descriptors."""
        process = self._process
        process.called()
        end = None if timeout is None else process.seconds() + max(timeout, 0.0)
        timer = process.callLater(timeout, process.wake) if timeout is not None and timeout > 0 else None
        try:
            while not (ready := self._ready()) and not self.isDue() and (end is None or process.seconds() < end):
                process.block(lambda: self._isOver(end))
        finally:
            if timer is not None and timer.active():
                timer.cancel()
        return ready

    def _isOver(self, end: float | None) -> bool:
        return bool(self._ready()) or self.isDue() or (end is not None and self._process.seconds() >= end)

    def _ready(self) -> list[tuple[SelectorKey, int]]:
        return [(key, EVENT_READ) for key in self._keys.values() if self._process.isReadable(key.fd)]

    def close(self) -> None:
        """Forget all descriptors."""
        self._keys.clear()


class WorldEventLoop(asyncio.SelectorEventLoop):
    """
    The loop.

    :param process: the process.
    """

    _ready: Any

    def __init__(self, process: SimulatedProcess) -> None:
        selector = WorldSelector(process)
        self._process = process
        self._coroutines: list[Any] = []
        super().__init__(selector)
        selector.isDue = lambda: bool(self._ready)
        # A process that is killed leaves its tasks behind, and asyncio would report each.
        self.set_exception_handler(lambda loop, context: None)

    def create_task(self, coro: Any, **options: Any) -> Any:
        """Create a task, and keep its coroutine for :meth:`abandon`."""
        self._coroutines.append(coro)
        return super().create_task(coro, **options)

    def abandon(self) -> None:
        """Close the coroutines of a process that is dead: the garbage collector would do that some time, and warn."""
        for each in self._coroutines:
            each.close()
        self._coroutines.clear()

    def time(self) -> float:
        """Return the world's time."""
        return self._process.seconds()

    def _make_self_pipe(self) -> None:
        """Do without: no other thread wakes the loop."""
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        """Do nothing."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Have a simulated signal call a function in a turn of the loop."""
        self._process.handle(sig, lambda number, frame: self.call_soon(callback, *args))

    def remove_signal_handler(self, sig: int) -> bool:
        """Restore the default."""
        self._process.handle(sig, signal.SIG_DFL)
        return True


@contextmanager
def noRunningLoop() -> Generator[None, None, None]:
    """Hide the loop that is running in this thread: the other processes of the world know nothing of it."""
    loop = events._get_running_loop()
    if loop is None:
        yield
        return
    _set_running_loop(None)
    try:
        yield
    finally:
        _set_running_loop(loop)
