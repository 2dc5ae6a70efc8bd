"""The errors that pirate raises, each saying what to do about it, and the exit codes of a worker."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a worker process ends; the numbers of the boot failures are gunicorn's."""

    #: It was asked to leave, finished what it held, and left.
    CLEAN = 0
    #: It could not start: its configuration or its connection was unusable.
    BOOT_FAILED = 3
    #: The app could not be imported or made ready; spawning another would fail the same way.
    APP_NOT_LOADED = 4


#: A worker that cannot start writes one line beginning so to its standard error, as the last thing it does.
LAST_WORDS = "pirate.worker: "


class PirateError(Exception):
    """Base of everything that pirate raises on purpose."""


class ConfigurationError(PirateError):
    """A setting is wrong, or two contradict each other: the message names them and says what would be right."""


class BindError(PirateError):
    """An endpoint could not be bound: free the address, or choose another."""


class StartError(PirateError):
    """The first workers could not start: mend what the message names, then start the server again."""


class ReloadError(PirateError):
    """The reload failed and the old workers stayed: mend the app, then reload again."""


class StopError(PirateError):
    """The server was stopped before what was asked could be done."""


class SoftTimeout(PirateError):
    """
    Raised in the app when a job has taken ``job-soft-timeout``: put things in order and return, or let it pass.

    One that is let through is the client's answer, with the code ``timeout``.
    """


class Fatal(SystemExit, PirateError):
    """
    The process cannot go on: one line for the terminal, and exit status 1, or a status without a word.

    It is a ``SystemExit``, so that no traceback is shown, and an ``Exception``, so that twistd removes its pid file.
    """
