"""What all faces are given by name, declared once: for type checkers, and for whoever asks for a face's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from pirate.client.call import Call
from pirate.client.codecs import Codec
from pirate.client.options import ClientOptions, Curve
from pirate.client.outage import Outage


class OptionArguments(TypedDict, total=False):
    """The arguments of ``ClientOptions`` that have names; ``Client`` tells what each means."""

    timeout: float
    attempts: int
    identity: bytes | None
    plain: bool
    curve: Curve | None
    codec: str | Codec
    before: Callable[[Call], str | None] | None
    after: Callable[[Call], object] | None
    outage: Callable[[Outage], object] | None


class Shown:
    """
    The ``__signature__`` of a class that takes ``**given``: it has each of these in its place, with its default.

    :param defaults: the defaults that are not those of ``ClientOptions``.
    """

    def __init__(self, **defaults: Any) -> None:
        self._defaults = defaults

    def __get__(self, instance: object, owner: type) -> Any:
        # It is slow to import, and seldom asked for.
        from inspect import Parameter, signature

        found = signature(owner.__init__)  # type: ignore[misc]
        behind = signature(ClientOptions, eval_str=True).parameters
        shown = []
        for each in list(found.parameters.values())[1:]:
            if each.kind is not Parameter.VAR_KEYWORD:
                shown.append(each)
                continue
            for name in OptionArguments.__annotations__:
                parameter = behind[name]
                shown.append(parameter.replace(default=self._defaults.get(name, parameter.default)))
        return found.replace(parameters=shown)
