"""
One request in the eyes of its client, without a socket or a clock: what to send, when to send it again, when to give
up, and how it ended.

The rule is the guide's Lazy Pirate with three differences.  One deadline holds for the whole call, and what is left of
it is shared evenly among the tries that are left.  A try counts when it is sent: as long as there is no connection, the
first one waits.  The server is told an earlier deadline, so that its word that the time is over arrives in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.client.errors import CallError, Denied, Timeout, TooLarge, Unavailable, failure
from pirate.wire.frontend import ServerReply, header
from pirate.wire.words import MAGIC

_NEVER = float("inf")
#: The share of a call's time that a server is told less, with its bounds in seconds; and the most of a short call.
MARGIN, LEAST_MARGIN, MOST_MARGIN = 0.05, 0.05, 1.0
MOST_OF_SHORT = 0.25
#: A request with more bytes, or with more frames, is looked at before it is sent: a server may not take it.
LARGE, MANY = 64 << 10, 256
_LOOK = "look at the server, and repeat only what may run twice"
_nothing: dict[str, Any] = {}


def _ignore(call: Call) -> None:
    pass


class Call:
    """
    One request with a native header, from its first try to its end.  Times are seconds of any one clock.

    :ivar key: its id, the same in every try; empty for a plain one.
    :ivar service: the name of the service; empty for the unnamed one.
    :ivar trace: the W3C traceparent that goes with it, or empty.
    :ivar began: when it was made.
    :ivar deadline: when it ends without an answer.
    :ivar expiry: the deadline that servers are told, a little before the other.
    :ivar next: when the next try is due; infinite if there is none.
    :ivar sent: how many times it was sent.
    :ivar sentAt: when it was sent last.
    :ivar attempts: how many times it may be sent.
    :ivar endpoint: the server that it was sent to last; before that, all that it may be sent to.
    :ivar peer: where the session has sent it; ``None`` while it waits for a connection.
    :ivar large: whether it is so large that a server may have closed a connection because of it.
    :ivar doubted: whether it has lost its last attempt with a connection, and is looked at because of that.
    :ivar others: where it was sent before, and may still be running.
    :ivar refused: the connections whose servers have refused it.
    :ivar finished: whether it has ended.
    :ivar answer: the reply, if that is how it ended.
    :ivar error: why there is no reply, if that is how it ended.
    :ivar done: called with it when it ends.
    :ivar part: called with the frames of each part of the reply; ``None``: it takes no parts.
    :ivar parts: how many there were.
    :ivar strange: whether something came that is no answer of any server of ours.
    :ivar waiter: what waits for its end: a lock or a future, for its face alone.
    """

    __slots__ = (
        *("answer", "attempts", "began", "body", "command", "deadline", "done", "doubted", "endpoint", "error"),
        *("expiry", "finished", "key", "large", "next", "others", "part", "parts", "refused", "peer", "sent"),
        *("sentAt", "service", "strange", "trace", "waiter"),
    )

    def __init__(
        self,
        body: list[bytes],
        *,
        now: float,
        timeout: float,
        attempts: int,
        endpoint: str = "",
        key: bytes = b"",
        service: str = "",
        trace: str = "",
        command: str = "",
    ) -> None:
        self.body = body
        self.began = now
        self.deadline = now + timeout
        self.expiry = self.deadline - margin(timeout)
        self.attempts = attempts
        self.endpoint = endpoint
        self.key = key
        self.service = service
        self.trace = trace
        self.command = command
        self.next = now
        self.sent = 0
        self.sentAt = now
        self.large = len(body[0]) > LARGE if len(body) == 1 else len(body) > MANY or sum(map(len, body)) > LARGE
        self.doubted = False
        self.peer: Any = None
        self.others: tuple[Any, ...] = ()
        self.refused: tuple[Any, ...] = ()
        self.finished = False
        self.answer: ServerReply | None = None
        self.error: CallError | None = None
        self.done: Callable[[Call], None] = _ignore
        self.part: Callable[[list[bytes]], None] | None = None
        self.parts = 0
        self.strange = False
        self.waiter: Any = None

    @property
    def plain(self) -> bool:
        """Whether it goes without a header."""
        return not self.key

    @property
    def mayMove(self) -> bool:
        """Whether it may be sent again, though it may have been run.  What was refused does not count."""
        return self.sent - len(self.refused) < self.attempts and not self.parts

    def frames(self, now: float) -> list[bytes]:
        """The next try, as a DEALER sends it, or a REQ if it is plain."""
        if not self.key:
            return self.body
        left = max(1, int((self.expiry - now) * 1000))
        if self.service or self.trace or self.command or self.part is not None:
            options = {"timeout_ms": left, "service": self.service, "trace": self.trace, "command": self.command}
            head = header(self.key, {**{name: each for name, each in options.items() if each}, **self._wish()})
        else:
            # The same, at a fifth of the cost.
            head = b'%b%b{"timeout_ms":%d}' % (MAGIC, self.key, left)
        return [head, b"", *self.body]

    def _wish(self) -> dict[str, Any]:
        return _nothing if self.part is None else {"partial": True}

    def wasSent(self, now: float, jitter: float = 1.0) -> None:
        """
        A try went out: the next is due when this one has had its share of the time that is left.

        :param jitter: by how much that share is stretched, so that clients do not ask again all at once.
        """
        left = self.attempts - self.sent
        # One that takes parts would get each twice if it asked again on the same connection.
        again = left > 1 and self.part is None
        self.next = now + (self.deadline - now) / left * jitter if again else _NEVER
        self.sent += 1
        self.sentAt = now

    def result(self) -> bytes | list[bytes]:
        """
        The reply: one frame as it is, several as a list.

        :raise CallError: if there is none; the one for the server's code, if the server gave one.
        """
        if self.error is not None:
            raise self.error
        assert self.answer is not None
        body = self.answer.body
        return body[0] if len(body) == 1 else list(body)

    def failure(self, told: dict[str, Any]) -> CallError:
        """The error that a server's header tells of."""
        code, detail, attempts = told.get("code"), told.get("message"), told.get("attempts")
        error = failure(str(code or told.get("status")), str(detail or ""), self.endpoint, self.key)
        error.attempts = attempts if isinstance(attempts, int) else 0
        error.tries = self.sent
        return error

    def timedOut(self, connected: bool = True) -> Timeout:
        """
        Make the error for a call whose deadline has passed.

        :param connected: whether the server that it was sent to could still be reached.
        """
        seconds = f"{self.deadline - self.began:g} s"
        if self.strange:
            return self._timeout(
                Timeout, f"{self.endpoint} answers without our header: call such a broker in plain mode"
            )
        if not self.sent:
            why = f"nobody answers at {self.endpoint}, nothing was sent in {seconds}: "
            return self._timeout(Unavailable, why + "start the server there, or correct the endpoint")
        if self.command == "ping":
            why = f"{self.endpoint} does not answer a ping within {seconds}: look at the server"
            return self._timeout(Timeout, why)
        times = "1 attempt" if self.sent == 1 else f"{self.sent} attempts"
        if not connected:
            why = f"the connection to {self.endpoint} was lost and did not come back within {seconds} ({times})"
            return self._timeout(Unavailable, f"{why}, the job may have run: {_LOOK}")
        why = f"no reply from {self.endpoint} within {seconds} ({times}), the job may have run: "
        return self._timeout(Timeout, why + "allow more time, or look at the server")

    def cutOff(self) -> Timeout:
        """Make the error for a call that lost its connection, and that may not be sent again."""
        times = "" if self.sent < 2 else f" ({self.sent} attempts)"
        why = f"the connection to {self.endpoint} was lost before the answer came{times}"
        ran = "" if self.command == "ping" else ", the job may have run"
        return self._timeout(Unavailable, f"{why}{ran}: {_LOOK}")

    def tooLarge(self, what: str) -> TooLarge:
        """
        Make the error for a call that a server does not take.

        :param what: what is too much.
        """
        return TooLarge(f"the request for {self.endpoint} has {what}", self.endpoint, self.key)

    def denied(self) -> Denied:
        """The error for a call that no server lets in."""
        why = f"{self.endpoint} does not let this client in: give it a key that the server knows"
        return Denied(why, self.endpoint, self.key)

    def _timeout(self, kind: type[Timeout], why: str) -> Timeout:
        error = kind(why, self.endpoint, self.key)
        error.tries = self.sent
        return error


def margin(timeout: float) -> float:
    """
    Return how many seconds a server is told less than a call has, for its answer to arrive.

    :param timeout: the seconds of the whole call.
    """
    # For every call, so without the functions min and max in the usual case.
    less = timeout * MARGIN
    if less > MOST_MARGIN:
        return MOST_MARGIN
    return less if less > LEAST_MARGIN else min(LEAST_MARGIN, timeout * MOST_OF_SHORT)


def isRefusal(answer: ServerReply) -> bool:
    """Whether a server says that it will not run a request, which another may."""
    return answer.options.get("code") in ("busy", "stopping")
