"""Shared by the tests of the settings: the table of defaults, and a test case for invalid settings."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.settings.limits import PoolLimits

#: The options of Net::Server and ours, with the defaults in the documentation.
COUNTS = {
    "min-servers": 5,
    "max-servers": 50,
    "min-spare-servers": 2,
    "max-spare-servers": 10,
    "max-requests": 0,
    "max-requests-jitter": 0,
    "max-dequeue": 1,
}
TIMES = {
    "check-for-waiting": 10,
    "min-child-ttl": 10,
    "check-for-dead": 30,
    "check-for-dequeue": 0,
    "start-timeout": 30,
    "stop-timeout": 30,
}
LIMITS = {**COUNTS, **TIMES}
SETTINGS = {
    "frontend": ("tcp://127.0.0.1:6660",),
    "backend": ("tcp://127.0.0.1:6661",),
    "app": "pirate.echo.echo",
    "dequeue": None,
    "hooks": None,
    "external-workers": False,
    "error-reply": False,
    "curve-secret": None,
    "curve-clients": None,
    "curve-workers": None,
    "allow": (),
    "deny": (),
    "insecure": False,
    "log-level": 2,
}
SIZES = ("minServers", "maxServers", "minSpareServers", "maxSpareServers")


def sizes(limits: PoolLimits) -> tuple[int, ...]:
    """Return the four numbers of servers."""
    return tuple(getattr(limits, name) for name in SIZES)


def attribute(option: str) -> str:
    """Return the name of an option in Python."""
    first, *rest = option.split("-")
    return first + "".join(word.capitalize() for word in rest)


class SettingsCase(SynchronousTestCase):
    """A test case for invalid settings."""

    def refusal(self, make: Any, *args: Any, **given: Any) -> str:
        """Return the one-line message of the :class:`ConfigurationError` that a call raises."""
        message = str(self.assertRaises(ConfigurationError, make, *args, **given))
        self.assertNotIn("\n", message)
        return message

    def assertRefused(self, option: str, value: Any, make: Any, *args: Any, **given: Any) -> None:
        """Check that a call fails with a message that names the option, its value and the valid values."""
        message = self.refusal(make, *args, **given)
        self.assertIn(option, message)
        self.assertIn(repr(value), message)
        self.assertIn("must be", message)
