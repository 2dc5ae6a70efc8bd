"""Replies as futures of ``concurrent.futures``, which is slow to import, and therefore only here."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from pirate.client.call import Call
from pirate.client.leader import Leader
from pirate.client.options import ClientOptions


class CallFuture(Future[Any]):
    """
    The future of a reply.

    :ivar request: the id of its request.
    """

    def __init__(self, leader: Leader, call: Call) -> None:
        super().__init__()
        self._leader = leader
        self._call = call
        self.request = call.key

    def cancel(self) -> bool:
        """
        Cancel the request, also if it is running.

        :return: false if the reply is there already.
        """
        if not super().cancel():
            return False
        if not self._call.finished:
            self._leader.post(self._leader.session.cancel, self._call)
        return True


def submit(leader: Leader, options: ClientOptions, call: Call) -> CallFuture:
    """
    Begin a call.

    :return: the future of its reply.
    """
    future = CallFuture(leader, call)

    def fill(call: Call) -> None:
        leader.busy -= 1
        # The future is told first, because it may have been cancelled.
        wanted = future.set_running_or_notify_cancel()
        try:
            value = options.conclude(call)
        except BaseException as error:
            if wanted:
                future.set_exception(error)
        else:
            if wanted:
                future.set_result(value)

    def begin(call: Call, now: float) -> None:
        leader.busy += 1
        leader.session.begin(call, now)

    # What waits for a future may do anything when it is done.
    call.done = lambda call: leader.afterwards(fill, call)
    leader.post(begin, call)
    return future
