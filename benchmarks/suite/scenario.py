"""What a scenario is: its cases, what is shown of them, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from suite.contestants import Contestant
from suite.stage import TestBed

#: What one run of one case gives: figures by the names of ``suite.table.COLUMNS``.
Figures = dict[str, float]


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
    """

    figure: str
    case: str
    over: str = ""
    least: float | None = None
    most: float | None = None

    def value(self, medians: Mapping[str, Figures]) -> float | None:
        """What it is; ``None`` if one of its rows is missing."""
        if self.case not in medians or (self.over and self.over not in medians):
            return None
        value = medians[self.case][self.figure]
        if not self.over:
            return value
        divisor = medians[self.over][self.figure]
        return value / divisor if divisor else None

    def holds(self, value: float) -> bool:
        """Whether a value is as wanted."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


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
