"""How often messages are read while no more requests are wanted: a few at a time, several times a second."""

from __future__ import annotations

#: Seconds between two looks, as long as there is room; each eighth of the room that is used doubles them.
INTERVAL = 0.01
#: Messages that are read in one look, at most.
MESSAGES = 16


class Throttle:
    """
    Let a few messages through, so that nobody is shut out by those who send too much.

    A ROUTER takes from its peers in turn.  So a look ends with as many requests from clients that should be held back
    as there are such clients: by then, everybody else has had a turn.

    :ivar due: when the next look may begin.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self._began = -1.0
        self._left = 0
        self._enough = 0

    def mayRead(self, now: float, used: float, crowding: int, most: int) -> bool:
        """
        Whether one more message may be read now.

        :param now: the time in seconds, on a clock that does not go back.
        :param used: how much is used of the room for what is read in looks; with 1 there are no more looks.
        :param crowding: how many requests have been read so far whose clients should be held back.
        :param most: how many of them end a look.
        """
        if now >= self.due:
            if used >= 1:
                return False
            self.due = now + INTERVAL * 2.0 ** int(8 * used)
            self._began = now
            self._left = MESSAGES
            self._enough = crowding + most
        elif now != self._began:
            return False
        if not self._left or crowding >= self._enough:
            return False
        self._left -= 1
        return True
