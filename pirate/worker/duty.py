"""What a worker gives to whatever runs several requests at once for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from pirate.wire.words import Value

if TYPE_CHECKING:
    from pirate.worker.app import App


class ServeContext(Value):
    """
    Serve with an app, until the worker is to leave.

    :ivar target: the app, a callable or a class.
    :ivar socket: the worker's DEALER.
    :ivar ready: called with the app once it is ready: the broker is to be told.
    :ivar refuse: called with the error if it cannot be made ready: this process is to end.
    """

    __slots__ = ("ready", "refuse", "socket", "target")

    def __init__(
        self, target: Any, socket: Any, ready: Callable[[App], None], refuse: Callable[[BaseException], NoReturn]
    ) -> None:
        self.target = target
        self.socket = socket
        self.ready = ready
        self.refuse = refuse
