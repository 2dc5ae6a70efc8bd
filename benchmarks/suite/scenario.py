"""What a scenario is: its cases, what is shown of them, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from suite.contestants import Contestant
from suite.stage import TestBed

#: What one run of one case gives: figures by the names of ``suite.table.COLUMNS``.
Figures = dict[str, float]
#: The runs of each case of a scenario, by its label.
Runs = Mapping[str, Sequence[Figures]]


@dataclass(frozen=True, slots=True)
class Case:
    """
    One row of a scenario's table.

    :ivar contestant: who is measured.
    :ivar what: what is special in this row, if the contestant has several.
    :ivar run: measures once, on a stage of its own, for so many seconds.
    """

    contestant: Contestant
    what: str
    run: Callable[[TestBed, float], Figures]

    @property
    def label(self) -> str:
        """The row's name."""
        return f"{self.contestant.name}, {self.what}" if self.what else self.contestant.name


@dataclass(frozen=True, slots=True)
class Target:
    """
    What is wanted: a figure, or a ratio of two, within a bound.

    :ivar figure: its name.
    :ivar case: the row's label.
    :ivar over: the label of the row whose figure it is divided by; empty: it is not.
    :ivar least: the bound from below, or ``None``.
    :ivar most: the bound from above, or ``None``.
    :ivar every: whether each run must be within the bound, and not their median.
    :ivar slow: another bound from below, for machines on which ``over`` is below a figure: that figure and the bound.
    """

    figure: str
    case: str
    over: str = ""
    least: float | None = None
    most: float | None = None
    every: bool = False
    slow: tuple[float, float] | None = None

    def value(self, runs: Runs) -> float | None:
        """What it is; ``None`` if one of its rows, or the figure of one, is missing."""
        value, divisor = self._figure(self.case, runs), self._figure(self.over, runs)
        if value is None or not self.over:
            return value
        return value / divisor if divisor else None

    def bounds(self, runs: Runs) -> tuple[float | None, float | None]:
        """The bounds from below and from above."""
        divisor = self._figure(self.over, runs)
        if self.slow is not None and divisor is not None and divisor < self.slow[0]:
            return self.slow[1], self.most
        return self.least, self.most

    def holds(self, runs: Runs) -> bool:
        """Whether it is as wanted; not if there is no value."""
        value = self.value(runs)
        least, most = self.bounds(runs)
        return value is not None and (least is None or value >= least) and (most is None or value <= most)

    def _figure(self, label: str, runs: Runs) -> float | None:
        values = [each[self.figure] for each in runs.get(label, ()) if self.figure in each]
        if not values:
            return None
        if not self.every:
            return median(values)
        return max(values) if self.least is None else min(values)


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    Cases that are compared with each other.

    :ivar name: what it is called on the command line.
    :ivar about: what is done, in one line.
    :ivar columns: the figures that are shown, the most important one first.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = ()
