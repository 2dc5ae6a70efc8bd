"""
One request in the eyes of its client, without a socket or a clock: what to send, when to send it again, when to give
up, and which answer is its own.

The rule is the guide's Lazy Pirate with two differences.  One deadline holds for the whole call, and what is left of it
is shared evenly among the tries that are left.  A try counts when it is sent: as long as there is no connection, the
first one waits.
"""

from __future__ import annotations

from typing import Any

from pirate.client.errors import CallError, Timeout, failure
from pirate.wire.frontend import Answer, header, parseAnswer
from pirate.wire.words import Frames


class Call:
    """
    One request with a native header, from its first try to its end.  Times are seconds of any one clock.

    :ivar key: its id, the same in every try.
    :ivar deadline: when it ends without an answer.
    :ivar sent: how many times it was sent.
    """

    __slots__ = ("_body", "_endpoint", "_next", "_service", "_strange", "_timeout", "_tries", "deadline", "key", "sent")

    def __init__(
        self,
        body: list[bytes],
        *,
        now: float,
        timeout: float,
        tries: int,
        endpoint: str = "",
        key: bytes = b"",
        service: str = "",
    ) -> None:
        self._body = body
        self._endpoint = endpoint
        self._next = now
        self._service = service
        self._strange = False
        self._timeout = timeout
        self._tries = tries
        self.deadline = now + timeout
        self.key = key
        self.sent = 0

    def due(self, now: float) -> bool:
        """Whether a try is to be sent as soon as the connection takes it."""
        return self.sent < self._tries and self._next <= now < self.deadline

    def wait(self, now: float) -> float:
        """How many seconds there is nothing to do but to wait for the connection."""
        idle = self.sent < self._tries and not self.due(now)
        return max(0.0, (min(self._next, self.deadline) if idle else self.deadline) - now)

    def frames(self, now: float) -> list[bytes]:
        """The next try, as a DEALER sends it."""
        options: dict[str, Any] = {"timeout_ms": max(1, int((self.deadline - now) * 1000))}
        if self._service:
            options["service"] = self._service
        return [header(self.key, options), b"", *self._body]

    def wasSent(self, now: float) -> None:
        """A try went out: the next is due when this one has had its share of the time that is left."""
        self._next = now + (self.deadline - now) / (self._tries - self.sent)
        self.sent += 1

    def receive(self, frames: Frames) -> Answer | None:
        """
        Look at a message that came in.

        :return: the answer to this call; ``None`` for another's, an older one, or a part that was not asked for.
        """
        answer = parseAnswer(frames)
        if answer is None:
            self._strange = True
            return None
        return answer if answer.key == self.key and answer.options.get("status") != "partial" else None

    def result(self, answer: Answer) -> bytes | list[bytes]:
        """
        The reply: one frame as it is, several as a list.

        :raise CallError: the one for the server's code, if the answer is an error.
        """
        # A broker that knows only the envelope rule returns our own header, which has no status.
        if answer.options.get("status", "ok") != "ok":
            raise self._failure(answer.options)
        return answer.body[0] if len(answer.body) == 1 else list(answer.body)

    def _failure(self, told: dict[str, Any]) -> CallError:
        code, detail, attempts = told.get("code"), told.get("message"), told.get("attempts")
        error = failure(str(code or told["status"]), str(detail or ""), self._endpoint, self.key)
        error.attempts = attempts if isinstance(attempts, int) else 0
        error.tries = self.sent
        return error

    def timedOut(self) -> Timeout:
        """The error for a call whose deadline has passed."""
        if self._strange:
            why = f"{self._endpoint} answers without our header: call such a broker in plain mode"
        elif not self.sent:
            why = (
                f"nobody answers at {self._endpoint}, nothing was sent in {self._timeout:g} s: "
                "start the server there, or correct the endpoint"
            )
        else:
            tries = "1 try" if self.sent == 1 else f"{self.sent} tries"
            why = (
                f"no reply from {self._endpoint} within {self._timeout:g} s ({tries}), the job may have run: "
                "allow more time, or look at the server"
            )
        error = Timeout(why, self._endpoint, self.key)
        error.tries = self.sent
        return error


class PlainCall(Call):
    """A request without a header, for a REQ socket: such a socket sees to it that the answer is its own."""

    __slots__ = ()

    def frames(self, now: float) -> list[bytes]:
        return self._body

    def receive(self, frames: Frames) -> Answer | None:
        return Answer(b"", {}, frames)
