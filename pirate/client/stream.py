"""A reply that comes in parts, taken one by one."""

from __future__ import annotations

from typing import Any

from pirate.client.arrivals import Arrivals
from pirate.client.call import Call
from pirate.client.leader import Leader
from pirate.client.options import ClientOptions


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

    def __init__(self, leader: Leader, options: ClientOptions, call: Call) -> None:
        self._leader = leader
        self._options = options
        self._call = call
        self._parts = Arrivals()
        self._over = False
        self.request = call.key
        call.part = self._parts.add
        call.done = self._parts.end

    def begin(self) -> None:
        """Send the request."""
        self._leader.post(self._leader.session.begin, self._call)

    def __iter__(self) -> Stream:
        return self

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # At any moment, in any thread: nothing may be done here but to leave a wish.
        if not self._over:
            self._leader.leave(self._leader.session.cancel, self._call)

    def __next__(self) -> Any:
        """
        The next part.

        :raise CallError: if the reply ends in an error.
        """
        if self._over:
            raise StopIteration
        try:
            self._leader.until(self._parts)
        except BaseException:
            self.close()
            raise
        if self._parts.items:
            return self._options.part(self._parts.items.popleft())
        self._over = True
        value = self._options.conclude(self._call)
        if isMore(self._call):
            return value
        raise StopIteration

    def close(self) -> None:
        """Take no more; the request is cancelled if it has not ended.  Twice does no harm."""
        if not self._over:
            self._over = True
            if not self._call.finished:
                self._leader.post(self._leader.session.cancel, self._call)
