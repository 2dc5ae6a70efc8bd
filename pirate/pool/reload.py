"""Rolling reload: each old worker is retired only when a new one is ready."""

from __future__ import annotations

from collections.abc import Iterable

from pirate.pool.child import Child, ChildState
from pirate.pool.scaling import MAX_BATCH


class Reload:
    """
    The progress of a reload.

    The first new worker is started alone, so that an app which cannot be loaded costs one start.  Then batches double.

    :ivar generation: the number of reloads so far; each child carries that of its start.
    :ivar active: whether a reload is in progress.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.active = False
        self._retirable = 0
        self._batch = 1

    def begin(self) -> None:
        """Begin a reload that replaces every child which exists now."""
        self.generation += 1
        self.active = True
        self._retirable = 0
        self._batch = 1

    def isReplacement(self, child: Child) -> bool:
        """Return whether a child was started by the reload in progress."""
        return self.active and child.generation == self.generation

    def childReady(self, child: Child) -> None:
        """Allow one more old child to be retired if a new one has become ready."""
        if self.isReplacement(child):
            self._retirable += 1

    def selectOld(self, staying: Iterable[Child]) -> list[Child]:
        """Return the workers that the reload still has to replace."""
        return [child for child in staying if child.generation != self.generation]

    def takeRetirable(self, old: list[Child], excess: int) -> list[Child]:
        """
        Return the old children to retire now, one for each new child that has become ready since the last call.

        :param old: all old children, in the order in which they are retired.
        :param excess: how many are retired in any case, because there are more children than ``max-servers``.
        """
        retired = old[: max(self._retirable, excess, 0)]
        self._retirable = max(self._retirable - len(retired), 0)
        return retired

    def countToStart(self, old: int, staying: Iterable[Child]) -> int:
        """
        Return how many new children to start now.

        :param old: how many old children have no replacement yet.
        :param staying: all workers that are not leaving or being replaced.
        """
        if any(child.state is ChildState.STARTING for child in staying):
            return 0
        count = min(self._batch, old)
        self._batch = min(self._batch * 2, MAX_BATCH)
        return count

    def end(self, children: Iterable[Child]) -> None:
        """
        End the reload, whether it succeeded or failed.

        :param children: all children; none of them counts as old from now on.
        """
        self.active = False
        for child in children:
            child.generation = self.generation
