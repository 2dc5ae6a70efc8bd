# -*- test-case-name: pirate.test.test_diagrams -*-
"""The diagrams of the documentation are up to date and legible."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pirate
from pirate.pool.child import CHILD_TRANSITIONS, ChildState
from pirate.wire.words import Code

DIAGRAMS = Path(pirate.__file__).parent.parent / "docs" / "diagrams"

#: The backgrounds of a page in light and in dark, as relative luminances: white, and the theme's #131416.
BACKGROUNDS = (1.0, 0.007)


def program() -> Any:
    """Load the program that draws the diagrams."""
    path = DIAGRAMS / "draw.py"
    if not path.exists():
        raise SkipTest("the documents are not here")
    spec = spec_from_file_location("draw", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def luminance(color: str) -> float:
    """Return the relative luminance of ``#rrggbb``, by WCAG."""
    shares = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class DiagramTests(SynchronousTestCase):
    """The files in ``docs/diagrams``."""

    def setUp(self) -> None:
        """Load the program."""
        self.draw = program()
        self.pictures = [draw() for draw in self.draw.DRAWINGS]

    def test_current(self) -> None:
        """Each file equals the program's output; ``python docs/diagrams/draw.py`` updates the files."""
        drawn = {f"{picture.name}.svg": picture.svg() for picture in self.pictures}
        self.assertEqual({path.name: path.read_text() for path in DIAGRAMS.glob("*.svg")}, drawn)

    def test_writes(self) -> None:
        """The program writes every picture into a folder."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.draw.main(folder)
        self.assertEqual(len(list(folder.glob("*.svg"))), 4)

    def test_accessible(self) -> None:
        """Each has a title and a description, which its root names."""
        for picture in self.pictures:
            root = ElementTree.fromstring(picture.svg())
            texts = {each.get("id"): each.text for each in root if each.tag.endswith(("title", "desc"))}
            self.assertEqual((root.get("aria-labelledby") or "").split(), list(texts))
            self.assertTrue(all(texts.values()))

    def test_small(self) -> None:
        """Each is as wide as a phone's screen, and no text in it is smaller than 12 units."""
        for picture in self.pictures:
            svg = picture.svg()
            self.assertIn('viewBox="0 0 360 ', svg)
            self.assertGreaterEqual(min(map(float, re.findall(r'font-size="([\d.]+)"', svg))), 12)

    def test_colors(self) -> None:
        """Each color stands out from a white page and from a dark one, by the 3:1 that WCAG asks of graphics."""
        for color in (*self.draw.PALETTE, self.draw.INK):
            for background in BACKGROUNDS:
                brighter, darker = sorted((luminance(color), background), reverse=True)
                self.assertGreater((brighter + 0.05) / (darker + 0.05), 3, color)

    def test_codes(self) -> None:
        """The picture of a request shows every code of an error."""
        shown = {code for _, codes in self.draw.ENDINGS.values() for code in codes}
        self.assertEqual(shown, {code.value for code in Code})

    def test_child(self) -> None:
        """The picture of a child cannot be drawn if it does not show the table of transitions."""
        with patch.dict(CHILD_TRANSITIONS, {ChildState.GONE: frozenset({ChildState.STARTING})}):
            self.assertRaises(ValueError, self.draw.child)

    def test_room(self) -> None:
        """A text that does not fit is refused."""
        drawing = self.draw.Drawing("some", "Some", "Something.", 100)
        self.assertRaises(ValueError, drawing.box, 0, 0, 40, 20, self.draw.BROKER, "unknown-service")
        self.assertRaises(ValueError, drawing.text, 350, 10, "over the edge")
