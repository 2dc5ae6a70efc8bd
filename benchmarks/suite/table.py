"""The figures as a table for people, and as an object for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from suite.processes import Usage
from suite.scenario import Figures, Runs, Scenario, Target

#: Each figure's heading and format.
COLUMNS = {
    "rate": ("requests/s", ",.0f"),
    "cpu": ("broker CPU s/1000", ".4f"),
    "worker": ("worker CPU s/1000", ".4f"),
    "load": ("load CPU s/1000", ".4f"),
    "p50": ("p50 ms", ".3f"),
    "p99": ("p99 ms", ".3f"),
    "p99.9": ("p99.9 ms", ".3f"),
    "efficiency": ("efficiency", ".3f"),
    "mb": ("MB/s", ",.0f"),
    "spawning": ("from bound s", ".2f"),
    "start": ("from nothing s", ".2f"),
    "idle": ("CPU s", ".2f"),
    "stall": ("longest stall ms", ".1f"),
    "sent": ("sent/s", ",.0f"),
    "waiting": ("bytes a request", ",.0f"),
    "memory": ("memory MB", ",.0f"),
    "density": ("requests/s per MB", ",.0f"),
    "client": ("client CPU s/1000", ".4f"),
    "alone p50": ("p50 ms", ".3f"),
    "alone p99": ("p99 ms", ".3f"),
    "offered": ("offered/s", ",.0f"),
    "open rate": ("requests/s", ",.0f"),
    "open p50": ("p50 ms", ".3f"),
    "open p99": ("p99 ms", ".3f"),
    "open p99.9": ("p99.9 ms", ".3f"),
    "fromClients": ("from clients", ".1f"),
    "toWorkers": ("to workers", ".1f"),
    "fromWorkers": ("from workers", ".1f"),
    "toClients": ("to clients", ".1f"),
    "turns": ("turns/1000", ",.0f"),
    "longest": ("longest turn ms", ".1f"),
    "credit": ("credit", ".1f"),
    "lowest": ("lowest credit", ".0f"),
    "announced": ("announced/1000", ".2f"),
}
#: What begins the names of the figures of one thread; the process, the thread and a name of :data:`THREAD` follow.
_THREAD = "thread"
#: What is told of each thread, for 1,000 requests: its heading and format.
THREAD = {
    "cpu": ("CPU s", ".4f"),
    "system": ("in the kernel", ".4f"),
    "voluntary": ("voluntary switches", ",.0f"),
    "involuntary": ("involuntary", ",.1f"),
    "delayed": ("ready, not run s", ".4f"),
}


def threadFigures(process: str, threads: Mapping[str, Usage], thousands: float) -> Figures:
    """
    Return what the threads of a process, or of several of one kind, used for 1,000 requests.

    :param process: whose they are.
    :param thousands: how many thousand requests there were.
    """
    return {
        f"{_THREAD}|{process}|{name}|{what}": getattr(usage, what) / thousands
        for name, usage in threads.items()
        if usage.cpu or usage.voluntary or usage.involuntary
        for what in THREAD
    }


def medians(runs: Runs) -> dict[str, Figures]:
    """The median of each figure of each case that has run at all, of those runs that have it."""
    return {
        label: {
            name: median(each[name] for each in several if name in each)
            for name in dict.fromkeys(name for each in several for name in each)
        }
        for label, several in runs.items()
        if several
    }


def spread(values: Sequence[float]) -> str:
    """How far apart the runs are: the difference of the greatest and the least, over the median."""
    middle = median(values) if values else 0
    return f"{(max(values) - min(values)) / middle:.0%}" if middle and len(values) > 1 else "-"


def span(values: Sequence[float], shape: str) -> str:
    """The least and the greatest of the runs."""
    return f"{min(values):{shape}} to {max(values):{shape}}" if len(values) > 1 else "-"


def layOut(rows: Sequence[Sequence[str]]) -> str:
    """Rows under each other: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def render(scenario: Scenario, runs: Runs) -> str:
    """A scenario's table, and whether it is as wanted; without the cases of which it shows nothing."""
    first = scenario.columns[0]
    shape = COLUMNS[first][1]
    heading = ["", *(COLUMNS[name][0] for name in scenario.columns), "range", "spread"]
    rows = [
        [
            label,
            *(_cell(figures, name, COLUMNS[name][1]) for name in scenario.columns),
            span(_all(runs[label], first), shape),
            spread(_all(runs[label], first)),
        ]
        for label, figures in medians(runs).items()
        if any(name in figures for name in scenario.columns)
    ]
    verdicts = [_verdict(each, runs) for each in scenario.targets]
    return "\n".join([f"{scenario.name}: {scenario.about}", "", layOut([heading, *rows]), "", *filter(None, verdicts)])


def renderThreads(runs: Runs) -> str:
    """A table of what each thread used, of those cases whose threads were measured; empty if none were."""
    rows = []
    for label, figures in medians(runs).items():
        threads = dict.fromkeys(tuple(each.split("|")[1:3]) for each in figures if each.startswith(f"{_THREAD}|"))
        for process, thread in threads:
            key = f"{_THREAD}|{process}|{thread}|"
            rows.append(
                [f"{label}: {process}, {thread}", *(_cell(figures, key + name, THREAD[name][1]) for name in THREAD)]
            )
    if not rows:
        return ""
    heading = ["", *(title for title, _ in THREAD.values())]
    return "\n".join(["threads, for 1,000 requests:", "", layOut([heading, *rows])])


def _cell(figures: Figures, name: str, shape: str) -> str:
    return format(figures[name], shape) if name in figures else "-"


def _all(several: Iterable[Figures], name: str) -> list[float]:
    return [each[name] for each in several if name in each]


def _verdict(target: Target, runs: Runs) -> str:
    value = target.value(runs)
    if value is None:
        return ""
    title, shape = COLUMNS[target.figure]
    what = f"{target.case} / {target.over}" if target.over else target.case
    least, most = target.bounds(runs)
    bound = f">= {least:g}" if least is not None else f"<= {most:g}"
    if target.slow is not None and least != target.least:
        bound += f", because {target.over} is below {target.slow[0]:,g}"
    shown = f"{value:.2f}" if target.over else format(value, shape)
    how = ", in every run" if target.every else ""
    return f"  {'met   ' if target.holds(runs) else 'MISSED'}  {what}, {title}{how}: {shown} (wanted: {bound})"


def toObject(scenario: Scenario, runs: Runs) -> dict[str, Any]:
    """The same for JSON: every run, the medians, and the targets."""
    targets = [
        {"figure": each.figure, "case": each.case, "over": each.over, "value": value, "met": each.holds(runs)}
        for each in scenario.targets
        if (value := each.value(runs)) is not None
    ]
    return {"about": scenario.about, "runs": dict(runs), "medians": medians(runs), "targets": targets}
