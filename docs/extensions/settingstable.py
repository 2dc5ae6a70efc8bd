"""
The directive ``settings``: options of the command line, taken from pirate's own table of settings.

``.. settings:: PoolLimits``, ``RequestPolicy``, ``PeerLimits`` and ``Settings`` describe the fields of these classes,
``.. settings:: others`` the options that the command line has beside them.
"""

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings
from pirate.settings.table import AdjustableDefault, Setting, table
from pirate.settings.types import (
    CLASS_IMPORT_PATH,
    CLIENT_KEYS,
    ENDPOINTS,
    FILE,
    IMPORT_PATH,
    KEYS,
    LOOP,
    NETWORKS,
    POLICY,
    SWITCH,
    SettingType,
)
from pirate.tap import Options

_CLASSES: dict[str, Any] = {
    "PoolLimits": PoolLimits,
    "RequestPolicy": RequestPolicy,
    "PeerLimits": PeerLimits,
    "Settings": Settings,
}


def _value(kind: SettingType) -> str:
    """Return the placeholder for a value of this type."""
    if kind is ENDPOINTS:
        return "ENDPOINT"
    if kind in (IMPORT_PATH, CLASS_IMPORT_PATH):
        return "PATH"
    if kind is POLICY:
        return "POLICY"
    if kind is NETWORKS:
        return "NETWORK"
    if kind in (KEYS, CLIENT_KEYS):
        return "PATH"
    if kind is FILE:
        return "FILE"
    if kind is LOOP:
        return "LOOP"
    return "N" if not kind.unit or " " in kind.unit else kind.unit.upper()


def _default(setting: Setting) -> str:
    default = setting.default
    if default == ():
        return "none"
    if isinstance(default, tuple):
        return ", ".join(f"``{each}``" for each in default)
    if default is None:
        return "auto" if setting.type.words.startswith("auto") else "none"
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    unit = f" {setting.type.unit}" if setting.type.unit else ""
    moves = "; adjusts to explicit values" if isinstance(default, AdjustableDefault) else ""
    return f"``{shown}``{unit}{moves}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def entry(owner: str, setting: Setting) -> Iterator[str]:
    """Yield the lines that describe one setting."""
    if setting.type is SWITCH:
        yield f".. option:: --{setting.name}"
        facts = "A switch; off by default."
    else:
        yield f".. option:: --{setting.name}={_value(setting.type)}"
        facts = f"Must be {setting.type.words}. Default: {_default(setting)}."
    yield ""
    yield f"   {_sentence(setting.help)}  {facts}  In Python: ``{owner}.{setting.attribute}``."
    yield ""


def others() -> Iterator[str]:
    """Yield the lines that describe the options that are not in the table."""
    known = {row.name for owner in _CLASSES.values() for row in table(owner)}
    for name, _, _, text in Options.optParameters:
        if name not in known:
            yield from [f".. option:: --{name}=N", "", f"   {_sentence(text)}", ""]
    for name, _, text in Options.optFlags:
        if name not in known:
            yield from [f".. option:: --{name}", "", f"   {_sentence(text)}", ""]


class SettingsDirective(SphinxDirective):
    """``.. settings:: PoolLimits``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the descriptions."""
        name = self.arguments[0]
        if name == "others":
            lines = list(others())
        else:
            lines = [line for row in table(_CLASSES[name]) for line in entry(name, row)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("settings", SettingsDirective)
    return {"parallel_read_safe": True}
