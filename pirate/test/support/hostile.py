"""Errors whose own code fails, exits, or gives what nobody can use."""

from __future__ import annotations

import sys
from typing import Any, NoReturn


class Raises(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        return str(1 / 0)

    __repr__ = __str__


class Exits(Exception):
    """Who asks for its text is to end."""

    def __str__(self) -> NoReturn:
        sys.exit(9)

    __repr__ = __str__


class NoText(Exception):
    """Its text is no text."""

    def __str__(self) -> Any:
        return 7


class Trap(str):
    """A text whose methods fail."""

    def split(self, *arguments: Any) -> NoReturn:
        raise RuntimeError("no split")

    def __getitem__(self, key: Any) -> NoReturn:
        raise RuntimeError("no part")

    def __format__(self, how: str) -> NoReturn:
        raise RuntimeError("no format")


class Trapped(Exception):
    """Its text is such a text."""

    def __str__(self) -> str:
        return Trap("x")


class _Hidden(type):
    """A class of classes without names."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("no instance")

    def __subclasscheck__(cls, subclass: type) -> bool:
        raise RuntimeError("no subclass")


class Nameless(BaseException, metaclass=_Hidden):
    """Its class does not tell its name, nor whose it is."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        raise RuntimeError("no class")


class Traceless(Exception):
    """It does not tell where it came from, nor why."""

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
    """An app that raises one of these."""
    raise HOSTILE[name.decode()]


def yielding(name: bytes) -> Any:
    """An app in parts that raises one of these in the middle."""
    yield b"part"
    raise HOSTILE[name.decode()]


async def awaiting(name: bytes) -> NoReturn:
    """An async app that raises one of these."""
    raise HOSTILE[name.decode()]


async def streaming(name: bytes) -> Any:
    """An async app in parts that raises one of these in the middle."""
    yield b"part"
    raise HOSTILE[name.decode()]


def deferring(name: bytes) -> Any:
    """An app whose Deferred fails with one of these."""
    from twisted.internet.defer import fail

    return fail(HOSTILE[name.decode()])
