"""
One request from its client's point of view, without a socket or a clock: its frames, when it is sent again, when it
times out, and how it ended.

This is the guide's Lazy Pirate with three differences.  One deadline covers the whole call, and the attempts that are
left share the remaining time evenly.  An attempt starts when it is sent: while there is no connection, the first one
waits.  The server is told a slightly earlier deadline, so that its error arrives before the caller gives up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pirate.client.errors import CallError, Denied, Timeout, TooLarge, Unavailable, failure
from pirate.wire.frontend import ServerReply, header
from pirate.wire.words import MAGIC, MAX_BATCHED_BYTES

if TYPE_CHECKING:
    from pirate.client.arrivals import Waiter
    from pirate.client.endpoints import Peer

_NEVER = float("inf")
#: How much earlier than the caller's deadline the server's is: a share of the timeout, within bounds in seconds.
MARGIN, LEAST_MARGIN, MOST_MARGIN = 0.05, 0.05, 1.0
#: The largest share of a short timeout.
MOST_OF_SHORT = 0.25
#: A request of more bytes, or of more frames, may exceed a server's limits.
LARGE, MANY = 64 << 10, 256
#: The lowest limit, in bytes of one frame, that a server can have: if no frame is larger, no server closes the
#: connection because of a request's size.
SMALL = 1 << 10
_ADVICE = "look at the server, and repeat only what may run twice"


class Call:
    """
    One request, from its first attempt to its end.  Times are seconds of any one clock.

    :ivar request: the id of the request, the same in every attempt; empty in plain mode.
    :ivar service: the name of the service; empty for the unnamed one.
    :ivar trace: the W3C traceparent that is sent with the request, or empty.
    :ivar began: when the call was made.
    :ivar deadline: when the call times out.
    :ivar expiry: the deadline that servers are told, a little before the caller's.
    :ivar next: when the next attempt is due; infinite if there is none.
    :ivar sent: how many times the request was sent.
    :ivar sentAt: when it was last sent.
    :ivar attempts: how many times it may be sent; if once, the server is told not to run it twice either.
    :ivar endpoint: the server that it was last sent to; before that, all servers that it may be sent to.
    :ivar peer: the connection that it was sent to; ``None`` while it waits for one.
    :ivar small: whether it may be sent in a batch.
    :ivar large: whether it is sent only to a server that accepts so much.
    :ivar checkingSize: whether it lost its last attempt with a connection, and waits only to learn whether it was too
        large.
    :ivar others: the connections of earlier attempts, where it may still be running.
    :ivar refused: the connections whose servers have refused it.
    :ivar finished: whether it has ended.
    :ivar reply: the server's reply, if the call ended in one.
    :ivar error: why there is no reply, if the call ended in an error.
    :ivar parts: how many parts of the reply have arrived.
    :ivar foreign: whether a message arrived that no pirate server sends.
    :ivar done: called with the call when it ends.
    :ivar part: called with the frames of each part of the reply; ``None`` if the call takes no parts.
    :ivar waiter: the thread that waits for the end, if one does.
    """

    __slots__ = (
        *("attempts", "began", "body", "checkingSize", "command", "deadline", "done", "endpoint", "error", "expiry"),
        *("finished", "foreign", "large", "next", "others", "part", "parts", "peer", "refused", "reply", "request"),
        *("sent", "sentAt", "service", "small", "trace", "waiter"),
    )

    def __init__(
        self,
        body: list[bytes],
        *,
        now: float,
        timeout: float,
        attempts: int,
        done: Callable[[Call], object],
        part: Callable[[list[bytes]], object] | None = None,
        endpoint: str = "",
        request: bytes = b"",
        service: str = "",
        trace: str = "",
        command: str = "",
    ) -> None:
        self.body = body
        self.began = now
        self.deadline = now + timeout
        less = timeout * MARGIN
        # The usual case of ``margin``, which is not called for every request.
        self.expiry = self.deadline - (less if LEAST_MARGIN < less < MOST_MARGIN else margin(timeout))
        self.attempts = attempts
        self.done = done
        self.part = part
        self.endpoint = endpoint
        self.request = request
        self.service = service
        self.trace = trace
        self.command = command
        self.next = now
        self.sent = 0
        self.sentAt = now
        if len(body) == 1:
            self.large = len(body[0]) > LARGE
            # A batch carries no ``attempts``.
            self.small = (
                len(body[0]) <= MAX_BATCHED_BYTES and part is None and not command and attempts > 1 and request != b""
            )
        else:
            self.large = len(body) > MANY or sum(map(len, body)) > LARGE
            self.small = False
        self.checkingSize = False
        self.peer: Peer | None = None
        self.others: tuple[Peer, ...] = ()
        self.refused: tuple[Peer, ...] = ()
        self.finished = False
        self.reply: ServerReply | None = None
        self.error: CallError | None = None
        self.parts = 0
        self.foreign = False
        self.waiter: Waiter | None = None

    @property
    def plain(self) -> bool:
        """Whether the request is sent without a header."""
        return not self.request

    @property
    def maySendAgain(self) -> bool:
        """Whether an attempt is left, and no part of the reply has arrived.  Refused attempts do not count."""
        return self.sent - len(self.refused) < self.attempts and not self.parts

    @property
    def mayExceedLimits(self) -> bool:
        """Whether there may be a server that closes the connection because of the request's size."""
        return self.large or len(self.body) > MANY or max(map(len, self.body)) > SMALL

    def frames(self, now: float) -> list[bytes]:
        """Return the frames of the next attempt, as a DEALER sends them, or in plain mode a REQ."""
        if not self.request:
            return self.body
        left = max(1, int((self.expiry - now) * 1000))
        once = self.attempts == 1 and not self.command
        if once or self.service or self.trace or self.command or self.part is not None:
            options: dict[str, Any] = {"timeout_ms": left}
            if once:
                # Otherwise the server would run the job again if its worker dies.  Any other number is only for
                # the client: what is sent again under the same id runs once.
                options["attempts"] = 1
            for name, value in (("service", self.service), ("trace", self.trace), ("command", self.command)):
                if value:
                    options[name] = value
            if self.part is not None:
                options["partial"] = True
            head = header(self.request, options)
        else:
            # The same bytes, at a fifth of the cost.
            head = b'%b%b{"timeout_ms":%d}' % (MAGIC, self.request, left)
        return [head, b"", *self.body]

    def markSent(self, now: float, jitter: float = 1.0) -> None:
        """
        Record that an attempt was sent, and plan the next one for the end of this one's share of the time.

        :param jitter: a factor that stretches the share, so that clients do not send again at the same moment.
        """
        left = self.attempts - self.sent
        # A second attempt on the same connection would deliver each part twice.
        again = left > 1 and self.part is None
        self.next = now + (self.deadline - now) / left * jitter if again else _NEVER
        self.sent += 1
        self.sentAt = now

    def failure(self, options: dict[str, Any]) -> CallError:
        """Return the error that the header of a server's reply describes."""
        code, detail, attempts = options.get("code"), options.get("message"), options.get("attempts")
        error = failure(str(code or options.get("status")), str(detail or ""), self.endpoint, self.request)
        error.attempts = attempts if isinstance(attempts, int) else 0
        error.sent = self.sent
        return error

    def timeoutError(self, connected: bool = True) -> Timeout:
        """
        Return the error for a call whose deadline has passed.

        :param connected: whether there is still a connection to the server.
        """
        seconds = f"{self.deadline - self.began:g} s"
        if self.foreign:
            return self._timeout(
                Timeout, f"{self.endpoint} replies without the pirate header: call such a broker in plain mode"
            )
        if not self.sent:
            why = f"no connection to {self.endpoint} within {seconds}, nothing was sent: "
            return self._timeout(Unavailable, why + "start the server there, or correct the endpoint")
        if self.command == "ping":
            why = f"{self.endpoint} did not answer a ping within {seconds}: look at the server"
            return self._timeout(Timeout, why)
        times = "1 attempt" if self.sent == 1 else f"{self.sent} attempts"
        if not connected:
            why = f"the connection to {self.endpoint} was lost and did not come back within {seconds} ({times})"
            return self._timeout(Unavailable, f"{why}, the job may have run: {_ADVICE}{self._sizeHint()}")
        why = f"no reply from {self.endpoint} within {seconds} ({times}), the job may have run: "
        return self._timeout(Timeout, f"{why}raise the timeout, or look at the server{self._sizeHint()}")

    def connectionLostError(self) -> Timeout:
        """Return the error for a call that lost its connection and has no attempt left."""
        times = "" if self.sent < 2 else f" ({self.sent} attempts)"
        why = f"the connection to {self.endpoint} was lost before the reply came{times}"
        ran = "" if self.command == "ping" else ", the job may have run"
        return self._timeout(Unavailable, f"{why}{ran}: {_ADVICE}{self._sizeHint()}")

    def tooLargeError(self, excess: str) -> TooLarge:
        """
        Return the error for a call that exceeds a server's limit.

        :param excess: which limit it exceeds, and by how much.
        """
        return TooLarge(f"the request for {self.endpoint} has {excess}", self.endpoint, self.request)

    def deniedError(self) -> Denied:
        """Return the error for a call of a client that no server lets in."""
        why = f"{self.endpoint} does not accept this client: use a key that the server knows"
        return Denied(why, self.endpoint, self.request)

    def _sizeHint(self) -> str:
        """Return what to add for a request whose size may be the reason, as a plain client is not told."""
        if not self.plain or not self.mayExceedLimits:
            return ""
        size = sum(map(len, self.body))
        return f"; its limits may be lower than the {size} bytes of this request, which a plain client is not told"

    def _timeout(self, kind: type[Timeout], why: str) -> Timeout:
        error = kind(why, self.endpoint, self.request)
        error.sent = self.sent
        return error


def margin(timeout: float) -> float:
    """
    Return how many seconds before the caller's deadline the server's is, so that its error arrives in time.

    :param timeout: the seconds of the whole call.
    """
    # This runs for every call: the usual case avoids min and max.
    less = timeout * MARGIN
    if less > MOST_MARGIN:
        return MOST_MARGIN
    return less if less > LEAST_MARGIN else min(LEAST_MARGIN, timeout * MOST_OF_SHORT)


def isRefusal(reply: ServerReply) -> bool:
    """Return whether a server refuses a request that another server may accept."""
    return reply.options.get("code") in ("busy", "stopping")
