"""
An app that calls the functions it is sent:  ``--app pirate.pickled.app``, for :class:`~pirate.client.executor.Executor`
with the codec ``pickle``.

Whoever can send it a request can run anything, as the user who runs the server.  It is safe where nobody else can: on a
UNIX socket or the loopback interface of a machine of one's own, or under CURVE with a list of keys.
"""

from __future__ import annotations

import pickle
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pirate.worker.app import Context

#: The first frame of a request.
CALL = b"pirate-pickle-1"
#: The first frame of a reply: what follows was returned, or raised.
RETURNED, RAISED = b"returned", b"raised"


def app(*frames: bytes, context: Context) -> list[bytes]:
    """
    Call a function.

    :param frames: a mark, and the pickled function, its arguments and its keyword arguments.
    :return: a mark that says whether it has returned or raised, and what, pickled.  An exception that cannot be pickled
        is raised instead.
    :raise PermissionError: if the client is on another machine, and has not shown a key.
    :raise ValueError: if this is no pickled call.
    """
    if not isTrusted(context):
        raise PermissionError("pickled calls are for clients on this machine, or with a key: use CURVE")
    if len(frames) != 2 or frames[0] != CALL:
        raise ValueError("this server takes pickled calls only: use an Executor with the codec pickle")
    function, arguments, named = pickle.loads(frames[1])
    try:
        value = function(*arguments, **named)
    except Exception as error:
        raised = _pickled(error)
        if raised is None:
            raise
        return [RAISED, raised]
    return [RETURNED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)]


def isTrusted(context: Any) -> bool:
    """Whether a client may be one that is trusted: from this machine, or with a key; not if neither is known."""
    if getattr(context, "user", ""):
        return True
    try:
        return bool(context.client) and ip_address(context.client).is_loopback
    except ValueError:
        # Not an IP address: a UNIX socket.
        return True


def _pickled(error: Exception) -> bytes | None:
    """An exception, if it can be pickled and made again."""
    try:
        data = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)
    except Exception:
        return None
    return data
