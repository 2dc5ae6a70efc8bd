"""Checks of plain numbers, for simulated worlds and for trials of real servers alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def unaccounted(stats: Mapping[str, Any]) -> int:
    """
    Return how many requests are in no counter, or, negative, in several: invariant 7.

    :param stats: the counts, by the names of :meth:`pirate.service.JobServer.stats`.
    """
    ended = sum(stats[name] for name in ("replied", "joined", "remembered", "withdrawn")) + sum(
        stats["failed"].values()
    )
    return int(stats["received"] - ended - stats["backlog"] - stats["in_flight"])


def executedTooOften(executions: Mapping[Any, int], most: int) -> Iterable[Any]:
    """
    Return what was executed more often than it may be: invariant 4.

    :param executions: how often each request was executed.
    :param most: how often it may be.
    """
    return [request for request, count in executions.items() if count > most]
