"""A reply that comes in parts, taken one by one."""

from __future__ import annotations

from collections import deque
from typing import Any

from pirate.client.call import Call
from pirate.client.lead import Lead, wake
from pirate.client.terms import Terms


def isMore(call: Call) -> bool:
    """Whether the end of a reply in parts has something to say: one empty frame is the end, and no more."""
    return call.answer is not None and not (len(call.answer.body) == 1 and not call.answer.body[0])


class Stream:
    """
    An iterator of the parts of a reply.

    What the app's generator returns, if it is not nothing, is the last of them; the reply of an app that is no
    generator is the only one.

    :ivar request: the id of the request.
    """

    def __init__(self, lead: Lead, terms: Terms, call: Call) -> None:
        self._lead = lead
        self._terms = terms
        self._call = call
        self._parts: deque[list[bytes]] = deque()
        self._over = False
        self.waiter: Any = None
        self.request = call.key
        call.part = self._came
        call.done = self._ended

    def begin(self) -> None:
        """Send the request."""
        self._lead.post(self._lead.session.begin, self._call)

    def __iter__(self) -> Stream:
        return self

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def finished(self) -> bool:
        """Whether there is something to take, or nothing to wait for."""
        return bool(self._parts) or self._call.finished

    def __next__(self) -> Any:
        """
        The next part.

        :raise CallError: if the reply ends in an error.
        """
        if self._over:
            raise StopIteration
        try:
            self._lead.until(self)
        except BaseException:
            self.close()
            raise
        if self._parts:
            return self._terms.part(self._parts.popleft())
        self._over = True
        value = self._terms.conclude(self._call)
        if isMore(self._call):
            return value
        raise StopIteration

    def close(self) -> None:
        """Take no more; the request is cancelled if it has not ended.  Twice does no harm."""
        if not self._over:
            self._over = True
            if not self._call.finished:
                self._lead.post(self._lead.session.cancel, self._call)

    def _came(self, frames: list[bytes]) -> None:
        self._parts.append(frames)
        wake(self)

    def _ended(self, call: Call) -> None:
        wake(self)
