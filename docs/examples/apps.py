"""Apps of every form.  Try one: twistd -n pirate --app apps.join"""

import json
import sqlite3
from collections.abc import Iterator

from pirate.app import Context


def join(*words: bytes) -> str:
    """Each frame is an argument.  Text is sent as UTF-8."""
    return " ".join(word.decode() for word in words)


def split(text: bytes) -> list[bytes]:
    """A list: a reply of several frames."""
    return text.split()


def check(payload: bytes) -> None:
    """An exception: the client gets it, and the worker lives on."""
    if not payload.isdigit():
        raise ValueError("only digits, please")


class Ledger:
    """A class: each worker makes one, when it starts, and keeps it."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("create table entry (text)")

    def __call__(self, text: bytes) -> str:
        self.database.execute("insert into entry values (?)", (text.decode(),))
        return str(*self.database.execute("select count(*) from entry").fetchone())

    def close(self) -> None:
        """Called when the worker exits."""
        self.database.close()


def countDown(start: bytes) -> Iterator[str]:
    """A generator: a reply in parts."""
    for number in range(int(start), 0, -1):
        yield str(number)


def describe(payload: bytes, *, context: Context) -> str:
    """A keyword-only parameter of this name receives information about the request."""
    return json.dumps(
        {
            "pid": context.pid,
            "request": context.request,
            "attempt": context.attempt,
            "service": context.service,
            "client": context.client,
        }
    )
