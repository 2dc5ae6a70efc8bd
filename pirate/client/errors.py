"""Why a call has no answer: one class for each code of the wire, each saying what to do about it."""

from __future__ import annotations

from pirate.errors import PirateError
from pirate.wire.words import Code

#: How a server begins what it tells a client that calls its backend.
BACKEND = "this is the backend"


class MisuseError(PirateError):
    """The client was used after it was closed, or out of its order: make a new one, or wait for what is under way."""


class CallError(PirateError):
    """
    A call has no answer: the subclass says why.  This class itself stands for a code that this version does not know.

    :ivar endpoint: the server's address.
    :ivar request: the id of the request, 16 bytes; empty for a plain one.
    :ivar code: the server's word for the reason; empty if the server said nothing.
    :ivar detail: what the server added in its own words; may be empty.
    :ivar attempts: how many workers have died while executing it, as far as the server said.
    :ivar tries: how many times the request was sent.
    """

    code: str = ""
    detail = ""
    attempts = 0
    tries = 0
    # The message, to which the server's own words are added.
    _says = "the server at {endpoint} answered with an error that this client does not know, a newer one may"

    def __init__(self, message: str, endpoint: str = "", request: bytes = b"") -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.request = request


class AppError(CallError):
    """The app raised an exception on this request: mend the request or the app, as ``type`` and ``text`` suggest."""

    code = Code.APP_ERROR
    _says = "the app failed"

    @property
    def type(self) -> str:
        """The name of the exception's class, such as ``ValueError``; empty if the server named none."""
        kind = self.detail.partition(":")[0]
        return kind if kind.replace(".", "_").isidentifier() else ""

    @property
    def text(self) -> str:
        """The exception's own message."""
        return self.detail.partition(":")[2].strip() if self.type else self.detail


class Timeout(CallError):
    """
    The time given ran out before an answer came.  If ``tries`` is 0 nothing was sent: start the server or correct the
    endpoint, and call again.  Otherwise the job may have run: allow more time, and repeat only what may run twice.
    """


class Unavailable(Timeout):
    """
    No endpoint could be reached in the time given: start a server, or correct the endpoint.  If ``tries`` is 0 nothing
    was sent.  Otherwise the connection was lost before the answer came, and did not come back in time or the request
    may not be sent again: the job may have run.
    """


class Expired(Timeout):
    """The time given ran out while the request still waited: it never ran.  Allow more time, or start more workers."""

    code = Code.EXPIRED
    _says = "the server at {endpoint} had no free worker in the time given, the job was not run: call again later"


class JobTimedOut(Timeout):
    """The job ran over the server's time limit and was stopped: give it less to do, or raise the server's limit."""

    code = Code.TIMEOUT
    _says = "the job ran over the time limit of the server at {endpoint} and was stopped"


class WorkerLost(CallError):
    """Every worker that tried the request died: look at the server's log before the same request is sent again."""

    code = Code.WORKER_LOST
    _says = "the worker died with the request in hand, the log of the server at {endpoint} tells how"


class Busy(CallError):
    """The server's backlog is full and the request was not taken: call again later, or start more workers."""

    code = Code.BUSY
    _says = "the server at {endpoint} is busy, call again later"


class UnknownService(CallError):
    """No worker serves the name that was asked for: correct ``service``, or start a server for it."""

    code = Code.UNKNOWN_SERVICE
    _says = "the server at {endpoint} does not know this service"


class Cancelled(CallError):
    """The request was cancelled on behalf of its caller: nothing to do."""

    code = Code.CANCELLED
    _says = "the request was cancelled at {endpoint}"


class Denied(CallError):
    """The server does not allow this client the request: ask whoever runs the server."""

    code = Code.DENIED
    _says = "the server at {endpoint} does not allow this request"


class TooLarge(Denied):
    """
    The request is larger than the server takes, and was not executed: send less, or raise the server's limit.  If
    ``tries`` is 0 nothing was sent.
    """

    _says = "the server at {endpoint} does not take so large a request"


class Malformed(CallError):
    """The server does not understand the request's header: use a client and a server of matching versions."""

    code = Code.MALFORMED
    _says = "the server at {endpoint} does not understand this client, their versions may not match"


class Stopping(CallError):
    """The server is shutting down and takes no new requests: call another one, or this one once it is back."""

    code = Code.STOPPING
    _says = "the server at {endpoint} is stopping, call another one or call again later"


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
    The error that stands for a server's code.

    :param detail: what the server added in its own words; may be empty.
    """
    kind = _BY_CODE.get(code, CallError)
    if kind is Denied and "max-message-" in detail:
        kind = TooLarge
    says = kind._says.format(endpoint=endpoint)
    if kind is Malformed and detail.startswith(BACKEND):
        says, known = f"{endpoint} is a server's backend, where its workers connect: call its frontend", ""
    else:
        known = detail or (code if kind is CallError else "")
    error = kind(f"{says}: {known}" if known else says, endpoint, request)
    error.code = code
    error.detail = detail
    return error
