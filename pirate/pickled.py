"""
An app that runs the function calls it receives: ``--app pirate.pickled.app``, for
:class:`~pirate.client.executor.Executor` with the codec ``pickle``.

Anyone who can send it a request can run any code as the user who runs the server.  It is safe only where no one else
can: on a UNIX socket or the loopback interface of a machine of your own, or under CURVE with a list of keys.
"""

from __future__ import annotations

import pickle
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pirate.worker.app import Context

#: The first frame of a request; the second is the pickled function, its arguments and its keyword arguments.
CALL = b"pirate-pickle-1"
#: The first frame of a reply whose second frame is what the function returned, pickled.
RETURNED = b"returned"
#: The first frame of a reply whose second frame is what the function raised, pickled; the third is the traceback, as
#: UTF-8 text.
RAISED = b"raised"
#: The longest traceback that is sent, in characters: of a longer one, the end.
MAX_TRACEBACK = 16 << 10


def app(*frames: bytes, context: Context) -> list[bytes]:
    """
    Call a function.

    :param frames: ``CALL``, and the pickled function with its arguments and its keyword arguments.
    :return: what the function returned or raised, pickled.  An exception that cannot be pickled is raised instead.
    :raise PermissionError: if the client is on another machine and has not shown a key.
    :raise ValueError: if the request is not a pickled call.
    """
    if not isTrusted(context):
        raise PermissionError("pickled calls are for clients on this machine, or with a key: use CURVE")
    if len(frames) != 2 or frames[0] != CALL:
        raise ValueError("this server takes pickled calls only: use an Executor with the codec pickle")
    function, arguments, keywords = pickle.loads(frames[1])
    try:
        value = function(*arguments, **keywords)
    except Exception as error:
        data = _pickled(error)
        if data is None:
            raise
        return [RAISED, data, _traceback(error)]
    return [RETURNED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)]


def isTrusted(context: Any) -> bool:
    """Return whether a client is on this machine or has shown a key; false if neither is known."""
    if getattr(context, "user", ""):
        return True
    try:
        return bool(context.client) and ip_address(context.client).is_loopback
    except ValueError:
        # It is not an IP address but a UNIX socket.
        return True


def _pickled(error: Exception) -> bytes | None:
    """Return a pickled exception, or ``None`` if it does not survive pickling."""
    try:
        data = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)
    except Exception:
        return None
    return data


def _traceback(error: Exception) -> bytes:
    """Return the traceback of an exception, without the frame of :func:`app`, as text."""
    # A worker that serves other apps does not need this module.
    from traceback import format_exception

    own = error.__traceback__
    lines = format_exception(type(error), error, None if own is None else own.tb_next)
    return "".join(lines)[-MAX_TRACEBACK:].encode("utf-8", "backslashreplace")
