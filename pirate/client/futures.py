"""Replies as futures of ``concurrent.futures``, which is slow to import, and therefore only here."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from pirate.client.call import Call
from pirate.client.lead import Lead
from pirate.client.terms import Terms


class CallFuture(Future[Any]):
    """
    The future of a reply.

    :ivar request: the id of its request.
    """

    def __init__(self, lead: Lead, call: Call) -> None:
        super().__init__()
        self._lead = lead
        self._call = call
        self.request = call.key

    def cancel(self) -> bool:
        """Cancel the request, also if it is running.  :return: false if the reply is there already."""
        if not super().cancel():
            return False
        if not self._call.finished:
            self._lead.post(self._lead.session.cancel, self._call)
        return True


def submit(lead: Lead, terms: Terms, call: Call) -> CallFuture:
    """Begin a call.  :return: the future of its reply."""
    future = CallFuture(lead, call)

    def fill(call: Call) -> None:
        lead.busy -= 1
        # The future is told first, because it may have been cancelled.
        wanted = future.set_running_or_notify_cancel()
        try:
            value = terms.conclude(call)
        except BaseException as error:
            if wanted:
                future.set_exception(error)
        else:
            if wanted:
                future.set_result(value)

    def begin(call: Call, now: float) -> None:
        lead.busy += 1
        lead.session.begin(call, now)

    # What waits for a future may do anything when it is done.
    call.done = lambda call: lead.afterwards(fill, call)
    lead.post(begin, call)
    return future
