"""Checks against many generated examples: the same ones every time, however slow the machine, and none kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

#: The settings of a test that is decorated with ``given``.
steady = settings(
    deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)


def holds(check: Callable[..., None], *strategies: Any, examples: int = 100) -> None:
    """Call a check with examples of some strategies."""
    several = settings(
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=examples,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    several(given(*strategies)(check))()
