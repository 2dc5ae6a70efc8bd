"""Texts about errors of the app, made by code that cannot fail, whatever an error's own code does."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from pirate.errors import PirateError
from pirate.wire.words import MAX_TEXT, shorten

#: The most lines of an error's traceback that are named, and the most errors that led to it.
MAX_LINES, MAX_CAUSES = 8, 3

#: The directory of this package.
OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
#: The directory of the standard library.
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
# The real name of a class, even if its metaclass returns another.
_nameOf: Callable[[type], str] = type.__dict__["__name__"].__get__


def describe(error: BaseException) -> str:
    """
    Return an error's type and text in one line.  This cannot fail.

    The error's own code may raise, end the process, or return a text that is huge or cannot be encoded.

    :return: at most ``MAX_TEXT`` bytes of UTF-8.
    """
    kind = type(error)
    try:
        # str() may return an instance of a subclass, with methods of its own.
        text = " ".join(str.__getitem__(str(error), slice(MAX_TEXT + 1)).split())
    except BaseException as another:
        text = f"(no text: its __str__ raised {_typeName(type(another))})"
    else:
        if issubclass(kind, PirateError):
            return shorten(text)
    name = _typeName(kind)
    return shorten(f"{name}: {text}" if text else name)


def _typeName(kind: type) -> str:
    return " ".join(str.split(_nameOf(kind)))


def trail(error: BaseException) -> str:
    """
    Return the lines of the app from which an error came, innermost first, and its causes.  This cannot fail.

    The lines of this package and of libraries are left out, but for the innermost one.

    :return: ``/srv/app.py:12 in check, from /srv/app.py:30 in app; caused by KeyError: 'x' at ...``; empty if the error
        did not come from the app.
    """
    try:
        told = [_lines(error)]
        for each in _causes(error):
            lines = _lines(each)
            told.append(f"{describe(each)} at {lines}" if lines else describe(each))
        return shorten("; caused by ".join(told)) if told[0] or len(told) > 1 else ""
    except BaseException:
        return ""


def _causes(error: BaseException) -> list[BaseException]:
    """Return the errors that led to an error, the latest first, or those of a group; at most ``MAX_CAUSES``."""
    if issubclass(type(error), BaseExceptionGroup):
        return list(BaseExceptionGroup.exceptions.__get__(error)[:MAX_CAUSES])
    causes: list[BaseException] = []
    while len(causes) < MAX_CAUSES:
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is None:
            break
        causes.append(cause)
        error = cause
    return causes


def _lines(error: BaseException) -> str:
    """Return the innermost lines of an error's traceback: those of the user's code, and the last one."""
    kept: deque[tuple[str, int, str]] = deque(maxlen=MAX_LINES)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename
        if os.path.dirname(name) != OWN_DIRECTORY and not name.startswith("<frozen"):
            # A line of a library is replaced by the next line.
            if kept and _isLibrary(kept[-1][0]):
                kept.pop()
            kept.append((name, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return ", from ".join(f"{name}:{line} in {function}" for name, line, function in reversed(kept))


def _isLibrary(path: str) -> bool:
    return path.startswith(_LIBRARY) or "site-packages" in path or "dist-packages" in path
