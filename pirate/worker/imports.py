"""Import paths: ``package.module.name`` or ``package.module:name`` to what it names, or why that fails."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from pirate.errors import ConfigurationError, PirateError
from pirate.wire.words import MAX_TEXT, shorten

#: Lines of an error's trace that are named, and errors that led to it, at most.
MAX_LINES, MAX_CAUSES = 8, 3

#: The folder of this program's own code, and that of the standard library.
_OURS = os.path.dirname(os.path.abspath(__file__))
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
# A class's own name, whatever its metaclass makes of that.
_nameOf: Callable[[type], str] = type.__dict__["__name__"].__get__


def load(path: str) -> Any:
    """
    What an import path names.

    :param path: with a colon, everything before it is the module; without, as many of its parts as are modules.
    :raise ConfigurationError: if there is no such module or name.  An error inside a module is not caught.
    """
    module, colon, attributes = path.partition(":")
    if not colon:
        module, _, attributes = path.rpartition(".")
    if not module:
        raise ConfigurationError(f"{path!r} must name a module and something in it, as in package.module.name")
    found, rest = (_import(module), []) if colon else _longest(module.split("."))
    for name in [*rest, *attributes.split(".")]:
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigurationError(f"there is no {name!r} in {_named(found)}") from None
    return found


def _longest(parts: list[str]) -> tuple[Any, list[str]]:
    """The module that most of the parts name, and the parts that are left for attributes."""
    for count in range(len(parts), 1, -1):
        try:
            return _import(".".join(parts[:count])), parts[count:]
        except ConfigurationError:
            continue
    return _import(parts[0]), parts[1:]


def _import(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise ConfigurationError(f"there is no module {missing!r}") from None
        raise


def _named(found: Any) -> str:
    """Name the object that lacks an attribute; a module by its file, in case it is not the one that was meant."""
    if not isinstance(found, ModuleType):
        return repr(found)
    file = getattr(found, "__file__", None)
    return f"module {found.__name__!r}" + (f" ({file})" if file else "")


def describe(error: BaseException) -> str:
    """
    Describe an error in one line: its type and its text.

    This cannot fail, whatever the error's own code does: it may raise, end the process, or return a text that is huge
    or cannot be encoded.

    :return: at most ``MAX_TEXT`` bytes of UTF-8.
    """
    kind = type(error)
    try:
        # str() may give an instance of a subclass, with methods of its own.
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
    Name the lines of the app from which an error came, innermost first, and what caused it.

    The lines of this package and of libraries are left out, but for the innermost one.  This cannot fail either.

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
    """The errors that led to an error, the latest first, or those in a group; no more than a few."""
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
    """The innermost lines of an error's trace, the user's own and the very last one."""
    kept: deque[tuple[str, int, str]] = deque(maxlen=MAX_LINES)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename
        if os.path.dirname(name) != _OURS and not name.startswith("<frozen"):
            # A line of a library gives way to the next one.
            if kept and _isLibrary(kept[-1][0]):
                kept.pop()
            kept.append((name, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return ", from ".join(f"{name}:{line} in {function}" for name, line, function in reversed(kept))


def _isLibrary(path: str) -> bool:
    return path.startswith(_LIBRARY) or "site-packages" in path or "dist-packages" in path


def place(error: BaseException) -> str:
    """Name the line of the user's code at which an error arose, if it was not ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_code.co_filename if trace is not None else ""
    if trace is None or name.startswith((_OURS, "<")) or "importlib" in name:
        return ""
    return f" ({name}, line {trace.tb_lineno})"
