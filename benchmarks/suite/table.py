"""The figures as a table for people, and as an object for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from suite.scenario import Figures, Scenario, Target

#: Each figure's heading and format.
COLUMNS = {
    "rate": ("requests/s", ",.0f"),
    "cpu": ("broker CPU s/1000", ".4f"),
    "load": ("load CPU s/1000", ".4f"),
    "p50": ("p50 ms", ".3f"),
    "p99": ("p99 ms", ".3f"),
    "efficiency": ("efficiency", ".3f"),
    "mb": ("MB/s", ",.0f"),
    "spawning": ("from bound s", ".2f"),
    "start": ("from nothing s", ".2f"),
    "idle": ("CPU s", ".2f"),
    "stall": ("longest stall ms", ".1f"),
    "sent": ("sent/s", ",.0f"),
    "waiting": ("bytes a request", ",.0f"),
}

#: The runs of each case of a scenario, by label.
Runs = Mapping[str, Sequence[Figures]]


def medians(runs: Runs) -> dict[str, Figures]:
    """The median of each figure of each case that has run at all."""
    return {
        label: {name: median(each[name] for each in several) for name in several[0]}
        for label, several in runs.items()
        if several
    }


def spread(values: Sequence[float]) -> str:
    """How far apart the runs are: the difference of the greatest and the least, over the median."""
    middle = median(values)
    return f"{(max(values) - min(values)) / middle:.0%}" if middle and len(values) > 1 else "-"


def layOut(rows: Sequence[Sequence[str]]) -> str:
    """Rows under each other: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def render(scenario: Scenario, runs: Runs) -> str:
    """A scenario's table, and whether it is as wanted."""
    middle = medians(runs)
    first = scenario.columns[0]
    heading = ["", *(COLUMNS[name][0] for name in scenario.columns), "spread"]
    rows = [
        [
            label,
            *(format(figures[name], COLUMNS[name][1]) for name in scenario.columns),
            spread(_all(runs[label], first)),
        ]
        for label, figures in middle.items()
    ]
    verdicts = [_verdict(each, middle) for each in scenario.targets]
    return "\n".join([f"{scenario.name}: {scenario.about}", "", layOut([heading, *rows]), "", *filter(None, verdicts)])


def _all(several: Iterable[Figures], name: str) -> list[float]:
    return [each[name] for each in several]


def _verdict(target: Target, middle: Mapping[str, Figures]) -> str:
    value = target.value(middle)
    if value is None:
        return ""
    title, shape = COLUMNS[target.figure]
    what = f"{target.case} / {target.over}" if target.over else target.case
    bound = f">= {target.least:g}" if target.least is not None else f"<= {target.most:g}"
    shown = f"{value:.2f}" if target.over else format(value, shape)
    return f"  {'met   ' if target.holds(value) else 'MISSED'}  {what}, {title}: {shown} (wanted: {bound})"


def toObject(scenario: Scenario, runs: Runs) -> dict[str, Any]:
    """The same for JSON: every run, the medians, and the targets."""
    middle = medians(runs)
    targets = [
        {"figure": each.figure, "case": each.case, "over": each.over, "value": value, "met": each.holds(value)}
        for each in scenario.targets
        if (value := each.value(middle)) is not None
    ]
    return {"about": scenario.about, "runs": dict(runs), "medians": middle, "targets": targets}
