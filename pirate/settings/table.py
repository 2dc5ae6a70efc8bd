"""The rows of the table of settings: how classes declare them, and how other modules read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from pirate.errors import ConfigurationError
from pirate.settings.types import SettingType


class AdjustableDefault(int):
    """A default that gives way to other settings that contradict it."""


def setting(default: Any, type: SettingType, help: str) -> Any:
    """
    Declare a field of a class of settings.

    :param help: one sentence, with the unit, for the command line and the reference.
    """
    return field(default=default, metadata={"type": type, "help": help})


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One row of the table.

    :ivar name: the name on the command line.
    :ivar attribute: the name in Python.
    :ivar type: the type of the value.
    """

    name: str
    attribute: str
    type: SettingType
    default: Any
    help: str


def optionName(attribute: str) -> str:
    """Return the name on the command line of an attribute: ``min-servers`` for ``minServers``."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in attribute)


def table(owner: type[Any]) -> Iterator[Setting]:
    """Yield the rows that a class of settings declares, in their order."""
    for each in fields(owner):
        if "type" in each.metadata:
            yield Setting(optionName(each.name), each.name, each.metadata["type"], each.default, each.metadata["help"])


def checkValues(values: Any) -> None:
    """
    Check every field of an instance of a class of settings.

    :raise ConfigurationError: naming the setting, its value, and the values that are valid.
    """
    for each in table(type(values)):
        value = getattr(values, each.attribute)
        if value is not None and not each.type.accepts(value):
            raise ConfigurationError(f"{each.name} is {value!r}, but must be {each.type.words}{each.type.hint(value)}")
        if value is None and each.default is not None:
            raise ConfigurationError(f"{each.name} is None, but must be {each.type.words}")
