"""The types of settings: how to parse a value, how to check it, and how to describe it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pirate.errors import ConfigurationError
from pirate.settings.endpoints import canonicalEndpoint
from pirate.wire.words import MAX_CONCURRENCY, MAX_CREDIT


def _noHint(value: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class SettingType:
    """
    The type of a setting.

    :ivar parse: converts a text to a value; raises ``ValueError`` if it cannot.
    :ivar accepts: returns whether a value is valid.
    :ivar words: describes the valid values, for messages.
    :ivar unit: the unit, for the reference.
    :ivar repeatable: whether the option is repeatable.
    :ivar hint: returns a suggestion for an invalid value, to append to the message; empty if there is none.
    """

    parse: Callable[[str], Any]
    accepts: Callable[[Any], bool]
    words: str
    unit: str = ""
    repeatable: bool = False
    hint: Callable[[Any], str] = _noHint


def _isNumber(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")


def _isPath(value: Any) -> bool:
    if not isinstance(value, str) or value.count(":") > 1:
        return False
    if value.partition(":")[0].endswith(".py"):
        return False
    parts = value.replace(":", ".").split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def pathHint(value: Any, name: str = "FUNCTION") -> str:
    """
    Suggest an import path for the name of a file, or for a module without a name in it.

    :param name: the placeholder for the name in the module.
    """
    file, colon, given = str(value).partition(":")
    module = file.removeprefix("./").removesuffix(".py").replace("/", ".")
    if not all(part.isidentifier() for part in module.split(".")):
        return ""
    return f"; did you mean {module}{colon if given else '.'}{given or name}?"


def importPathOf(target: Callable[..., Any], name: str) -> str:
    """
    Return the import path of a function or class, so that a worker can import it.

    :param target: a function or class that a module defines by name.
    :param name: the setting, for the error message.
    :return: the path in the form ``package.module:name``.
    :raise ConfigurationError: if importing that path would not give the same object.
    """
    module, path = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    for part in path.split("."):
        found = getattr(found, part, None)
    if module == "__main__":
        raise ConfigurationError(
            f"{name} is {path}, which the main program defines, but workers cannot import that: move it to a module"
        )
    if found is not target:
        raise ConfigurationError(
            f"{name} is {target!r}, but must be an import path, or a function or class that a module defines by name"
        )
    return f"{module}:{path}"


def fullPath(given: str) -> str:
    """Make the path of a file absolute, because the working directory may change; keep ``credential:NAME``."""
    text = str(given)
    return text if text in ("", "*") or text.startswith("credential:") else str(Path(text).absolute())


def _isFile(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


# These two accept a subclass of int, because a default may be an AdjustableDefault; bool is one, too.
COUNT = SettingType(
    int,
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "a whole number, 0 or more",
)
POSITIVE = SettingType(
    int,
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
    "a whole number, 1 or more",
)
SECONDS = SettingType(float, _isNumber, "a number of seconds, 0 or more", "seconds")
POSITIVE_SECONDS = SettingType(
    float, lambda value: _isNumber(value) and value > 0, "a number of seconds, more than 0", "seconds"
)
INTERVAL = SettingType(
    float, lambda value: _isNumber(value) and value >= 0.01, "a number of seconds, at least 0.01", "seconds"
)
#: ZeroMQ takes these in milliseconds, as an int of C, which holds about 24 days.
ZMQ_SECONDS = SettingType(
    float, lambda value: _isNumber(value) and value <= 1e6, "a number of seconds, from 0 to a million", "seconds"
)
POSITIVE_ZMQ_SECONDS = SettingType(
    float,
    lambda value: _isNumber(value) and 0 < value <= 1e6,
    "a number of seconds, more than 0 and at most a million",
    "seconds",
)
LEVEL = SettingType(int, lambda value: type(value) is int and 0 <= value <= 4, "a whole number from 0 to 4")
SWITCH = SettingType(bool, lambda value: isinstance(value, bool), "true or false")
PREFETCH = SettingType(
    lambda text: None if text == "auto" else int(text),
    lambda value: type(value) is int and 1 <= value <= MAX_CREDIT,
    f"auto, or a whole number from 1 to {MAX_CREDIT}",
)
CONCURRENCY = SettingType(
    int,
    lambda value: type(value) is int and 1 <= value <= MAX_CONCURRENCY,
    f"a whole number from 1 to {MAX_CONCURRENCY}",
)
THREADS = SettingType(
    int,
    lambda value: type(value) is int and 0 <= value <= MAX_CONCURRENCY,
    f"a whole number from 0 to {MAX_CONCURRENCY}",
)
LOOP = SettingType(str, lambda value: value in ("auto", "asyncio", "twisted"), "auto, asyncio or twisted")
IMPORT_PATH = SettingType(
    str, _isPath, "an import path, as in package.module.name or package.module:name", hint=pathHint
)
CLASS_IMPORT_PATH = replace(IMPORT_PATH, hint=lambda value: pathHint(value, "CLASS"))
ENDPOINTS = SettingType(canonicalEndpoint, lambda value: True, "one or more endpoints", repeatable=True)
NETWORKS = SettingType(
    str, lambda value: True, "one or more addresses or networks, as in 192.0.2.7 or 192.0.2.0/24", repeatable=True
)
FILE = SettingType(str, _isFile, "the path of a file, or credential:NAME")
KEYS = SettingType(str, _isFile, "the path of a directory or a file, or credential:NAME")
CLIENT_KEYS = replace(KEYS, words="the path of a directory or a file, credential:NAME, or '*' for any key")


MIB = SettingType(float, _isNumber, "a number of MiB, 0 or more", "MiB")
POSITIVE_MIB = SettingType(float, lambda value: _isNumber(value) and value > 0, "a number of MiB, more than 0", "MiB")
#: The minimum still admits a worker's announcement; the maximum fits ZeroMQ's 64-bit size in bytes.
FRAME_MIB = SettingType(
    float,
    lambda value: _isNumber(value) and 1 / 1024 <= value <= 1e6,
    "a number of MiB, from 1/1024 to a million",
    "MiB",
)
SHARE = SettingType(float, lambda value: _isNumber(value) and 0 < value <= 1, "a number, more than 0 and at most 1")
RATE = SettingType(float, _isNumber, "a number of requests a second, 0 or more", "requests a second")
POLICY = SettingType(str, lambda value: value in ("wait", "reject"), "wait or reject")
