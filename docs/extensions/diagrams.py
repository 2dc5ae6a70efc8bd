"""
The directive ``diagram``: one of the pictures in ``docs/diagrams``, as a part of the page.

``.. diagram:: broker`` puts the file ``docs/diagrams/broker.svg`` into an HTML page, so that it takes the page's font
and colors, in light and in dark.  Any other output gets the picture's description.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).parent.parent / "diagrams"

#: The most that a picture is enlarged: its text is then as large as the page's.
_STYLE = "max-width: 440px; margin: 1.5em auto"


def description(svg: str) -> str:
    """Return the description in a picture, for readers who cannot see it."""
    found = re.search(r"<desc[^>]*>(.*?)</desc>", svg, re.S)
    if found is None:
        raise ValueError("the picture has no description")
    return found[1]


class DiagramDirective(SphinxDirective):
    """``.. diagram:: name``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the picture for HTML, and its description for everything else."""
        path = FOLDER / f"{self.arguments[0]}.svg"
        if not path.exists():
            raise self.error(f"there is no diagram {path.name}")
        self.env.note_dependency(str(path))
        svg = path.read_text()
        picture = nodes.raw("", f'<figure style="{_STYLE}">\n{svg}</figure>', format="html")
        words = addnodes.only("", nodes.paragraph("", description(svg)), expr="not html")
        return [picture, words]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("diagram", DiagramDirective)
    return {"parallel_read_safe": True}
