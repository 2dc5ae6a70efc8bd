"""The exit statuses of ``pirate-client``: one for each error."""

from __future__ import annotations

from enum import IntEnum

from pirate.client import errors
from pirate.errors import ConfigurationError


class ExitStatus(IntEnum):
    """An exit status of the command."""

    #: The reply is on standard output.
    OK = 0
    #: Another error; the line on standard error describes it.
    FAILED = 1
    #: The command line is invalid; nothing was sent.
    USAGE = 2
    #: The app raised an exception.
    APP_ERROR = 3
    #: No reply came within the timeout.
    TIMEOUT = 4
    #: The timeout passed before a worker was free; the job did not run.
    EXPIRED = 5
    #: The job exceeded the server's time limit and was stopped.
    JOB_TIMED_OUT = 6
    #: The worker died while executing the request.
    WORKER_LOST = 7
    #: The server's backlog is full.
    BUSY = 8
    #: The server is stopping.
    STOPPING = 9
    #: The server has no such service.
    UNKNOWN_SERVICE = 10
    #: The server does not accept the client or the request.
    DENIED = 11
    #: The request was cancelled.
    CANCELLED = 12
    #: The server does not understand the request's header.
    MALFORMED = 13
    #: The reply is not JSON, but ``--json`` was given.
    NOT_JSON = 14
    #: The server answers a ping, but is not ready for requests.
    NOT_READY = 15
    #: No server could be reached, or the connection was lost before the reply came.
    UNAVAILABLE = 16
    #: Ctrl-C: 128 plus the signal's number, as in a shell.
    INTERRUPTED = 130
    #: The reader of standard output closed its end: likewise.
    BROKEN_PIPE = 141


#: The exit status for each error; subclasses come before their bases.
_EXITS: tuple[tuple[type[BaseException], ExitStatus], ...] = (
    (ConfigurationError, ExitStatus.USAGE),
    (errors.AppError, ExitStatus.APP_ERROR),
    (errors.Expired, ExitStatus.EXPIRED),
    (errors.JobTimedOut, ExitStatus.JOB_TIMED_OUT),
    (errors.Unavailable, ExitStatus.UNAVAILABLE),
    (errors.Timeout, ExitStatus.TIMEOUT),
    (errors.WorkerLost, ExitStatus.WORKER_LOST),
    (errors.Busy, ExitStatus.BUSY),
    (errors.Stopping, ExitStatus.STOPPING),
    (errors.UnknownService, ExitStatus.UNKNOWN_SERVICE),
    (errors.Denied, ExitStatus.DENIED),
    (errors.Cancelled, ExitStatus.CANCELLED),
    (errors.Malformed, ExitStatus.MALFORMED),
    (ValueError, ExitStatus.NOT_JSON),
    (KeyboardInterrupt, ExitStatus.INTERRUPTED),
    (BrokenPipeError, ExitStatus.BROKEN_PIPE),
)


def exitStatusOf(error: BaseException) -> ExitStatus:
    """Return the exit status for an error."""
    return next((status for kind, status in _EXITS if isinstance(error, kind)), ExitStatus.FAILED)


def nameOf(status: ExitStatus) -> str:
    """Return the name of an exit status in summaries and in the help, such as ``app error`` or ``timeout``."""
    return status.name.lower().replace("_", " ")
