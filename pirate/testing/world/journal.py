"""The journal of a world: every event, with its time and its actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from pirate.testing.world.agenda import Agenda

#: An event: the time, who, what, and more about it.
Event = tuple[float, str, str, tuple[Any, ...]]


class Journal:
    """
    All events of a world, in their order.

    :ivar events: the events.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.events: list[Event] = []
        self._watchers: dict[str, list[Callable[..., object]]] = {}

    def note(self, who: str, what: str, *more: Any) -> None:
        """
        Note an event.

        :param what: one of a few words.
        :param more: texts, numbers and bytes; nothing whose ``repr`` differs from process to process.
        """
        self.events.append((self._agenda.now, who, what, more))
        watchers = self._watchers.get(what)
        if watchers is not None:
            for watcher in watchers:
                watcher(who, *more)

    def watch(self, what: str, watcher: Callable[..., object]) -> None:
        """Call a function with the actor and the details of each event of a kind."""
        self._watchers.setdefault(what, []).append(watcher)

    def digest(self) -> str:
        """Return a hash of all events."""
        total = blake2b(digest_size=16)
        for event in self.events:
            total.update(repr(event).encode())
        return total.hexdigest()

    def story(self) -> Iterator[str]:
        """Yield a line for each event, for people."""
        for time, who, what, more in self.events:
            yield f"{time:12.6f}  {who:<12} {what:<12} {' '.join(_shown(each) for each in more)}".rstrip()


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode() if value.isascii() and value.decode().isprintable() else value.hex()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
