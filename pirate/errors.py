"""The exceptions that pirate raises, and the exit codes of a worker."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a worker process; gunicorn uses the same numbers for failures at the start."""

    #: The worker was told to leave, finished its requests, and left.
    CLEAN = 0
    #: The worker could not start, because its configuration or its connection does not work.
    BOOT_FAILED = 3
    #: The app could not be imported or set up; another worker would fail in the same way.
    APP_NOT_LOADED = 4


#: The prefix of the last line that a worker writes to standard error if it cannot start.
START_ERROR_PREFIX = "pirate.worker: "


class PirateError(Exception):
    """Base of the exceptions that pirate raises."""


class ConfigurationError(PirateError):
    """A setting is invalid, or two settings contradict each other: correct the settings that the message names."""


class BindError(PirateError):
    """An endpoint cannot be bound: free the address, or choose another one."""


class StartError(PirateError):
    """The first workers cannot start: fix the problem that the message names, then start the server again."""


class ReloadError(PirateError):
    """A new worker could not start during a reload, so the old workers stay: fix the app, then reload again."""


class StopError(PirateError):
    """The server has stopped, or is stopping, and cannot do what was requested."""


class SoftTimeout(PirateError):
    """
    A job has run for ``job-soft-timeout`` seconds: clean up and return a reply, or let the exception propagate.

    Raised in the app.  If it propagates, the client gets an error with the code ``timeout``.
    """


class Fatal(SystemExit, PirateError):
    """
    The process cannot continue: it prints one line and exits with status 1, or exits silently with another status.

    It is a ``SystemExit``, so that Python prints no traceback, and an ``Exception``, so that twistd removes its pid
    file.
    """
