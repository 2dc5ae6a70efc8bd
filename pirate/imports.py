"""Import paths: ``package.module.name`` or ``package.module:name`` to what it names, or why that fails."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

from pirate.errors import ConfigurationError, PirateError


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
    """An error in one line: its type and its text."""
    text = " ".join(str(error).split())
    if isinstance(error, PirateError):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def place(error: BaseException) -> str:
    """The line of the user's code at which an error arose, if it was not ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_code.co_filename if trace is not None else ""
    ours = os.path.dirname(os.path.abspath(__file__))
    if trace is None or name.startswith((ours, "<")) or "importlib" in name:
        return ""
    return f" ({name}, line {trace.tb_lineno})"
