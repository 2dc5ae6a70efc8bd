"""One row of the table of settings: how it is declared, and found again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from pirate.errors import ConfigurationError
from pirate.settings.types import SettingType


class AdjustableDefault(int):
    """A default that may still move, because the settings that were given leave no room for it."""


def setting(default: Any, kind: SettingType, help: str) -> Any:
    """
    A field of a class of settings.

    :param help: one line.
    """
    return field(default=default, metadata={"kind": kind, "help": help})


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One row of the table.

    :ivar name: as on the command line.
    :ivar attribute: as in Python.
    """

    name: str
    attribute: str
    kind: SettingType
    default: Any
    help: str


def optionName(attribute: str) -> str:
    """``minServers`` as the command line spells it: ``min-servers``."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in attribute)


def table(owner: type[Any]) -> Iterator[Setting]:
    """The rows that a class of settings declares, in its order."""
    for each in fields(owner):
        if "kind" in each.metadata:
            yield Setting(optionName(each.name), each.name, each.metadata["kind"], each.default, each.metadata["help"])


def check(values: Any) -> None:
    """
    Look at every field of a class of settings.

    :raise ConfigurationError: naming the setting, its value, and what would be right.
    """
    for each in table(type(values)):
        value = getattr(values, each.attribute)
        if value is not None and not each.kind.accepts(value):
            raise ConfigurationError(f"{each.name} is {value!r}, but must be {each.kind.words}{each.kind.hint(value)}")
        if value is None and each.default is not None:
            raise ConfigurationError(f"{each.name} is None, but must be {each.kind.words}")
