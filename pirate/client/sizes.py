"""How large a message a server takes, as it answers a ping, and whether a request is larger."""

from __future__ import annotations

from typing import Any

from pirate.wire.words import Frames, Value

_NEVER = float("inf")


class SizeLimits(Value):
    """
    A server's limits of one message; infinite where it does not tell.

    :ivar frame: the most bytes of one frame.
    :ivar total: the most bytes of all frames.
    :ivar frames: the most frames.
    """

    __slots__ = ("frame", "frames", "total")

    def __init__(self, frame: float = _NEVER, total: float = _NEVER, frames: float = _NEVER) -> None:
        self.frame = frame
        self.total = total
        self.frames = frames

    def exceeded(self, message: Frames) -> str:
        """
        Say what is too much in a message, and which of the server's settings would allow it; empty if nothing is.

        :param message: all frames as they are sent.
        """
        largest, total = max(map(len, message)), sum(map(len, message))
        for size, most, unit, setting in (
            (largest, self.frame, "bytes in one frame", "max-message-size"),
            (total, self.total, "bytes in all", "max-message-total"),
            (len(message), self.frames, "frames", "max-message-frames"),
        ):
            if size > most:
                return f"{size} {unit}, and at most {most} are allowed there: send less, or raise --{setting}"
        return ""


def sizeLimits(told: dict[str, Any]) -> SizeLimits:
    """
    Return the limits that the answer to a ping tells of.

    :param told: the JSON keys of its header.
    """
    return SizeLimits(*(_limit(told, f"max_message_{name}") for name in ("size", "total", "frames")))


def _limit(told: dict[str, Any], name: str) -> float:
    value = told.get(name)
    return value if isinstance(value, int) and value > 0 else _NEVER
