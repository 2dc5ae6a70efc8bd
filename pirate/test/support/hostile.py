"""Errors whose own code fails, ends the process, or returns what cannot be used."""

from __future__ import annotations

import sys
from typing import Any, NoReturn


class Raises(Exception):
    """An error whose ``__str__`` raises."""

    def __str__(self) -> str:
        return str(1 / 0)

    __repr__ = __str__


class Exits(Exception):
    """An error whose ``__str__`` ends the process."""

    def __str__(self) -> NoReturn:
        sys.exit(9)

    __repr__ = __str__


class NoText(Exception):
    """An error whose ``__str__`` does not return a string."""

    def __str__(self) -> Any:
        return 7


class Trap(str):
    """A string whose methods raise."""

    def split(self, *arguments: Any) -> NoReturn:
        raise RuntimeError("no split")

    def __getitem__(self, key: Any) -> NoReturn:
        raise RuntimeError("no part")

    def __format__(self, how: str) -> NoReturn:
        raise RuntimeError("no format")


class Trapped(Exception):
    """An error whose ``__str__`` returns such a string."""

    def __str__(self) -> str:
        return Trap("x")


class _Hidden(type):
    """A metaclass whose classes hide their names and refuse type checks."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("no instance")

    def __subclasscheck__(cls, subclass: type) -> bool:
        raise RuntimeError("no subclass")


class Nameless(BaseException, metaclass=_Hidden):
    """An error whose class hides its name."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        raise RuntimeError("no class")


class Traceless(Exception):
    """An error all of whose attributes raise."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


HOSTILE: dict[str, BaseException] = {
    "raises": Raises(),
    "exits": Exits(),
    "no text": NoText(),
    "trapped": Trapped(),
    "nameless": Nameless("x"),
    "traceless": Traceless("x"),
    "huge": ValueError("x" * (1 << 20)),
    "huge and wide": ValueError("\U0001f600" * (1 << 18)),
    "surrogates": ValueError("a\udcffb"),
    "zeros": ValueError("\0" * 10_000),
    "huge name": type("N" * 100_000, (Exception,), {})("x"),
    "lines": ValueError("\n\r" * 10_000),
}


def raising(name: bytes) -> NoReturn:
    """Raise one of these errors."""
    raise HOSTILE[name.decode()]


def yielding(name: bytes) -> Any:
    """Yield a part, then raise one of these errors."""
    yield b"part"
    raise HOSTILE[name.decode()]


async def awaiting(name: bytes) -> NoReturn:
    """Raise one of these errors in a coroutine."""
    raise HOSTILE[name.decode()]


async def streaming(name: bytes) -> Any:
    """Yield a part in an asynchronous generator, then raise one of these errors."""
    yield b"part"
    raise HOSTILE[name.decode()]


def deferring(name: bytes) -> Any:
    """Return a Deferred that fails with one of these errors."""
    from twisted.internet.defer import fail

    return fail(HOSTILE[name.decode()])
