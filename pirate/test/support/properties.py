"""Settings of the tests that try many values."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: The same examples every time, however slow the machine, with nothing kept on disk.
steady = settings(
    deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
