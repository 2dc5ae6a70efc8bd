"""A rolling reload: every child is replaced by a new one, which must be ready before an old one is retired."""

from __future__ import annotations

from collections.abc import Iterable

from pirate.pool.child import Child, ChildState
from pirate.pool.scaling import MAX_BATCH


class Reload:
    """
    How far a reload has come.

    The first new child is alone, so that an app which cannot be loaded costs one start; then batches double.

    :ivar generation: the number of reloads so far; children are marked with it.
    :ivar active: whether a reload is going on.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.active = False
        self._replaced = 0
        self._batch = 1

    def begin(self) -> None:
        """All children that there are now are old."""
        self.generation += 1
        self.active = True
        self._replaced = 0
        self._batch = 1

    def concerns(self, child: Child) -> bool:
        """Whether a child is one of those that are to replace the old ones."""
        return self.active and child.generation == self.generation

    def ready(self, child: Child) -> None:
        """A child is ready: if it is a new one, an old one may go."""
        if self.concerns(child):
            self._replaced += 1

    def old(self, live: Iterable[Child]) -> list[Child]:
        """The children that are to be replaced."""
        return [child for child in live if child.generation != self.generation]

    def mayGo(self, old: list[Child]) -> list[Child]:
        """Of the old children, given in the order in which they should go, those that may go now."""
        going = old[: self._replaced]
        self._replaced -= len(going)
        return going

    def toStart(self, old: int, live: Iterable[Child]) -> int:
        """How many new children to start now, for so many old ones that are left."""
        if any(child.state is ChildState.STARTING for child in live):
            return 0
        count = min(self._batch, old)
        self._batch = min(self._batch * 2, MAX_BATCH)
        return count

    def end(self, children: Iterable[Child]) -> None:
        """The reload is over, well or badly: none of these is old any more."""
        self.active = False
        for child in children:
            child.generation = self.generation
