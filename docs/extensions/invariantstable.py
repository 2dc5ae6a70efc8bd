"""
The directives ``invariants`` and ``unchecked``: the register of the simulated worlds, taken from the code.

``.. invariants::`` describes each, with the planted defects that break it, which ``topics/mutants.txt`` lists;
``.. unchecked::`` what cannot be checked yet.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pirate.testing.world.invariants.base import Invariant
from pirate.testing.world.invariants.register import INVARIANTS, UNCHECKED

#: A line of the list of planted defects: its name, its module, the invariants that it breaks, and the seed.
_LINE = re.compile(r"(?P<name>\S.*?) {2,}\S+\.py +(?P<numbers>[\d,]+) +\d+ ")
#: The methods that check an invariant, and when they do.
_WHEN = {
    "watch": "at every event",
    "atTimes": "ten times a second",
    "atRest": "at rest",
    "atEnd": "when everything has been stopped",
}


def _breakers(path: Path) -> dict[int, list[str]]:
    """Return the names of the defects that break each invariant."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for line in path.read_text().splitlines():
        match = _LINE.match(line)
        if match is not None:
            for number in match["numbers"].split(","):
                found[int(number)].append(match["name"])
    return found


def _entry(invariant: type[Invariant], breakers: list[str]) -> Iterator[str]:
    when = ", ".join(words for name, words in _WHEN.items() if getattr(invariant, name) is not getattr(Invariant, name))
    module = invariant.__module__.rpartition(".")[2]
    yield f"**{invariant.number}.** {invariant.statement}"
    yield f"   ``{module}.{invariant.__name__}``, {when}."
    if breakers:
        yield f"   Broken by: {'; '.join(breakers)}."
    yield ""


class InvariantsDirective(SphinxDirective):
    """``.. invariants::``"""

    def run(self) -> list[nodes.Node]:
        """Return the descriptions."""
        path = Path(self.env.srcdir) / "topics" / "mutants.txt"
        self.env.note_dependency(str(path))
        breakers = _breakers(path)
        lines = [line for each in INVARIANTS for line in _entry(each, breakers.get(each.number, []))]
        return self.parse_text_to_nodes("\n".join(lines))


class UncheckedDirective(SphinxDirective):
    """``.. unchecked::``"""

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        return self.parse_text_to_nodes("\n".join(f"- {what}  {why}" for what, why in UNCHECKED.items()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("invariants", InvariantsDirective)
    app.add_directive("unchecked", UncheckedDirective)
    return {"parallel_read_safe": True}
