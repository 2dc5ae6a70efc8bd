"""The errors that end a call: one class for each error code of the wire.  Each docstring says what to do about it."""

from __future__ import annotations

from pirate.errors import PirateError
from pirate.wire.words import Code

#: How the message of a server begins when a client has called its backend.
BACKEND = "this is the backend"


class MisuseError(PirateError):
    """The client was used after it was closed, or in another event loop than before: make a new client."""


class CallError(PirateError):
    """
    A call has no reply; the subclass says why.  This class itself stands for a code that this version does not know.

    :ivar endpoint: the endpoint of the server.
    :ivar request: the id of the request, 16 bytes; empty in plain mode.
    :ivar code: the error code that the server sent; empty if the client itself gave up.
    :ivar detail: the message that the server sent with the code; may be empty.
    :ivar attempts: how many workers died while executing the request, according to the server.
    :ivar sent: how many times the client sent the request.
    """

    code: str = ""
    detail = ""
    attempts = 0
    sent = 0
    # The beginning of the message; the detail follows it.
    _template = "the server at {endpoint} sent an error code that this version of the client does not know"

    def __init__(self, message: str, endpoint: str = "", request: bytes = b"") -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.request = request


class AppError(CallError):
    """The app raised an exception for this request: fix the request or the app; see ``type`` and ``text``."""

    code = Code.APP_ERROR
    _template = "the app failed"

    @property
    def type(self) -> str:
        """The name of the exception's class, such as ``ValueError``; empty if the server sent none."""
        kind = self.detail.partition(":")[0]
        return kind if kind.replace(".", "_").isidentifier() else ""

    @property
    def text(self) -> str:
        """The message of the exception."""
        return self.detail.partition(":")[2].strip() if self.type else self.detail


class Timeout(CallError):
    """
    No reply came within the timeout of the call.  If ``sent`` is 0, nothing was sent: start the server or correct the
    endpoint, and call again.  Otherwise the job may have run: raise the timeout, and repeat only what may run twice.
    """


class Unavailable(Timeout):
    """
    No server could be reached within the timeout: start a server, or correct the endpoint.  If ``sent`` is 0, nothing
    was sent.  Otherwise the connection was lost before the reply came, and either it did not come back in time or no
    attempt was left: the job may have run.
    """


class Expired(Timeout):
    """The request waited for a worker until its timeout, and never ran: raise the timeout, or start more workers."""

    code = Code.EXPIRED
    _template = (
        "the server at {endpoint} had no free worker within the timeout, and did not run the job: call again later"
    )


class JobTimedOut(Timeout):
    """The job exceeded the server's time limit and was stopped: make the job smaller, or raise ``job-timeout``."""

    code = Code.TIMEOUT
    _template = "the job exceeded the time limit of the server at {endpoint} and was stopped"


class WorkerLost(CallError):
    """Every worker that executed the request died: read the server's log before you send the request again."""

    code = Code.WORKER_LOST
    _template = "the worker died while executing the request: see the log of the server at {endpoint}"


class Busy(CallError):
    """The server's backlog is full, and it rejected the request: call again later, or start more workers."""

    code = Code.BUSY
    _template = "the server at {endpoint} is busy, call again later"


class UnknownService(CallError):
    """No worker offers the requested service: correct ``service``, or start a server for it."""

    code = Code.UNKNOWN_SERVICE
    _template = "the server at {endpoint} has no such service"


class Cancelled(CallError):
    """The request was cancelled by a caller, or its client was closed: nothing to do."""

    code = Code.CANCELLED
    _template = "the request was cancelled at {endpoint}"


class Denied(CallError):
    """The server does not accept this client or this request: ask the server's operator for access."""

    code = Code.DENIED
    _template = "the server at {endpoint} does not accept this request"


class TooLarge(Denied):
    """
    The request exceeds a limit of the server, and did not run: send less, or raise the server's limit.  If ``sent`` is
    0, nothing was sent.
    """

    _template = "the server at {endpoint} does not accept a request of this size"


class Malformed(CallError):
    """The server does not understand the request's header: use a client and a server of matching versions."""

    code = Code.MALFORMED
    _template = "the server at {endpoint} does not understand this client, their versions may not match"


class Stopping(CallError):
    """The server is shutting down and accepts no new requests: call another one, or this one once it is back."""

    code = Code.STOPPING
    _template = "the server at {endpoint} is stopping, call another one or call again later"


_BY_CODE: dict[str, type[CallError]] = {
    kind.code: kind
    for kind in (
        AppError,
        Busy,
        Cancelled,
        Denied,
        Expired,
        Malformed,
        JobTimedOut,
        Stopping,
        UnknownService,
        WorkerLost,
    )
}


def failure(code: str, detail: str, endpoint: str = "", request: bytes = b"") -> CallError:
    """
    Return the error for a code that a server sent.

    :param detail: the message that came with the code; may be empty.
    """
    kind = _BY_CODE.get(code, CallError)
    if kind is Denied and "max-message-" in detail:
        kind = TooLarge
    summary = kind._template.format(endpoint=endpoint)
    if kind is Malformed and detail.startswith(BACKEND):
        summary, shown = f"{endpoint} is a server's backend, where its workers connect: call its frontend", ""
    else:
        shown = detail or (code if kind is CallError else "")
    error = kind(f"{summary}: {shown}" if shown else summary, endpoint, request)
    error.code = code
    error.detail = detail
    return error
