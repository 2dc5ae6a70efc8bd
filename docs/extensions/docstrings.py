"""Docstrings in Sphinx's words: ``code`` and ``name``, and fields that stand in the line of the text before them."""

import re
from typing import Any

from sphinx.application import Sphinx

_MARKUP = re.compile(r"[CL]\{([^}]*)\}")
_FIELD = re.compile(r"^( *)(\S.*?)  (:(?:param|ivar|return|raise)\b.*)$", re.M)


def translate(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    """Translate one docstring in place."""
    text = _MARKUP.sub(r"``\1``", "\n".join(lines))
    while text != (apart := _FIELD.sub(r"\1\2\n\n\1\3", text)):
        text = apart
    lines[:] = text.split("\n")


def signature(
    app: Sphinx, what: str, name: str, subject: Any, options: Any, arguments: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """
    Show the defaults that :class:`~pirate.settings.settings.Settings` makes anew each time, which Sphinx cannot read,
    as values.
    """
    for each in ("Limits()", "Terms()", "Bounds()") if arguments else ():
        arguments = arguments.replace("<factory>", each, 1)
    return arguments, result


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", translate)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
