"""Import paths, ``package.module.name`` or ``package.module:name``: load what they name, or explain why that fails."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from pirate.errors import ConfigurationError
from pirate.worker.errortext import OWN_DIRECTORY, describe


def load(path: str) -> Any:
    """
    Return the object that an import path names.

    :param path: with a colon, everything before it is the module; without, as many of its parts as are modules.
    :raise ConfigurationError: if there is no such module or name.  An error raised inside a module is passed on.
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
            raise ConfigurationError(f"there is no {name!r} in {_nameOf(found)}") from None
    return found


def _longest(parts: list[str]) -> tuple[Any, list[str]]:
    """Return the module that most of the parts name, and the remaining parts, which name attributes."""
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


def _nameOf(found: Any) -> str:
    """Return a name for an object that lacks an attribute; for a module with its file, in case it is the wrong one."""
    if not isinstance(found, ModuleType):
        return repr(found)
    file = getattr(found, "__file__", None)
    return f"module {found.__name__!r}" + (f" ({file})" if file else "")


def explain(error: BaseException) -> str:
    """Return in one line why something could not be loaded, with the line of the user's code that raised the error."""
    return f"{describe(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """Return the line of the user's code that raised an error, in parentheses; empty if it was other code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_code.co_filename if trace is not None else ""
    if trace is None or name.startswith((OWN_DIRECTORY, "<")) or "importlib" in name:
        return ""
    return f" ({name}, line {trace.tb_lineno})"
