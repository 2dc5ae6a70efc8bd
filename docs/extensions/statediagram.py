"""
The directive ``states``: a diagram of a table of transitions, drawn when the pages are built, and the table itself.

``.. states:: pirate.pool.child.CHILD_TRANSITIONS`` reads a dictionary from each state, a member of an enumeration, to
the states that may follow it.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Transitions = Mapping[Enum, frozenset[Enum]]

#: Sizes of the drawing, in units, which are pixels where there is room: a phone shows all of it.
WIDTH, HEIGHT, GAP, RISE = 120, 34, 30, 26

_HEAD = (
    '<defs><marker id="{name}-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="currentColor"/></marker></defs>'
)


def edges(transitions: Transitions) -> list[tuple[int, int]]:
    """Return the steps, as pairs of the states' positions in their enumeration."""
    order = list(transitions)
    return [
        (order.index(before), order.index(after)) for before in order for after in order if after in transitions[before]
    ]


def svg(name: str, transitions: Transitions) -> str:
    """
    Draw the states in a column, with a line down to the next state, an arc on the right for each longer step ahead, and
    one on the left for each step back.

    :param name: a word for the drawing's own names.
    """
    order = list(transitions)
    steps = edges(transitions)
    ahead = max((after - before for before, after in steps if after > before + 1), default=0) * RISE
    back = max((before - after for before, after in steps if after < before), default=0) * RISE
    width = back + WIDTH + ahead + 8
    height = len(order) * (HEIGHT + GAP) - GAP + 4
    left = back + 4
    words = "; ".join(f"{order[before].value} to {order[after].value}" for before, after in steps)
    parts = [
        f'<svg role="img" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'style="max-width: {width}px; width: 100%" font-size="14" font-family="inherit">',
        f"<title>Steps: {words}</title>",
        _HEAD.format(name=name),
        *_boxes(order, left),
        *(_arrow(name, step, left) for step in steps),
        "</svg>",
    ]
    return "".join(parts)


def _boxes(order: list[Enum], left: int) -> Iterator[str]:
    for place, state in enumerate(order):
        top = place * (HEIGHT + GAP) + 2
        yield (
            f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="none" stroke="currentColor"/>'
            f'<text x="{left + WIDTH / 2:g}" y="{top + HEIGHT / 2 + 5:g}" text-anchor="middle" fill="currentColor">'
            f"{state.value}</text>"
        )


def _arrow(name: str, step: tuple[int, int], left: int) -> str:
    """Draw a step: a line to the next state, or an arc from the nearer half of a box to that of another."""
    before, after = step
    reach = abs(after - before)
    ahead = 1 if after > before else -1
    if after == before + 1:
        x = left + WIDTH / 2
        top = before * (HEIGHT + GAP) + 2 + HEIGHT
        path = f"M{x:g},{top} L{x:g},{top + GAP}"
    else:
        edge = left + WIDTH if ahead > 0 else left
        shift = max(HEIGHT / 2 - 4 * reach, 3)
        start = before * (HEIGHT + GAP) + 2 + HEIGHT / 2 + ahead * shift
        end = after * (HEIGHT + GAP) + 2 + HEIGHT / 2 - ahead * shift
        peak = edge + ahead * RISE * reach * 4 / 3
        path = f"M{edge},{start:g} C{peak:g},{start:g} {peak:g},{end:g} {edge},{end:g}"
    return f'<path d="{path}" fill="none" stroke="currentColor" marker-end="url(#{name}-arrow)"/>'


def rows(transitions: Transitions) -> Iterator[str]:
    """Yield the lines of the table."""
    yield from [".. list-table::", "   :header-rows: 1", "", "   * - From", "     - To"]
    for before in transitions:
        following = [f"``{after.value}``" for after in transitions if after in transitions[before]]
        yield from [f"   * - ``{before.value}``", f"     - {', '.join(following) or 'nowhere'}"]


class StatesDirective(SphinxDirective):
    """``.. states:: package.module.NAME``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the drawing, for HTML, and the table."""
        module, _, name = self.arguments[0].rpartition(".")
        transitions: Transitions = getattr(import_module(module), name)
        drawing = nodes.raw("", svg(name.lower().replace("_", "-"), transitions), format="html")
        return [drawing, *self.parse_text_to_nodes("\n".join(rows(transitions)))]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("states", StatesDirective)
    return {"parallel_read_safe": True}
