"""
Draw the scenario ``tiny`` of a result: ``python benchmarks/picture.py result.json picture.svg``.

The result is what ``speed.py`` wrote to its ``--json`` file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

_WIDTH, _LABELS, _FIGURES = 720, 170, 80
_ROW, _BAR = 26, 16
_OURS, _OTHERS = "#1f6f8b", "#b8c4ca"


def draw(medians: dict[str, dict[str, float]]) -> str:
    """
    Two groups of bars: requests a second, and the broker's CPU time a request.

    :param medians: of each case, by its label.
    """
    parts: list[str] = []
    height = _panel(parts, 10, medians, "rate", "Requests a second (more is better)", "{:,.0f}".format)
    height = _panel(
        parts,
        height + 20,
        medians,
        "cpu",
        "CPU time of the broker for one request, microseconds (less is better)",
        lambda seconds: f"{seconds * 1000:.1f}",
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13">\n<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(
    parts: list[str],
    top: int,
    medians: dict[str, dict[str, float]],
    figure: str,
    title: str,
    show: Callable[[float], str],
) -> int:
    """
    One group of bars.

    :return: where it ends.
    """
    parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
    top += _ROW
    most = max(each[figure] for each in medians.values()) or 1
    for label, each in medians.items():
        length = (_WIDTH - _LABELS - _FIGURES) * each[figure] / most
        colour = _OURS if label.startswith("pirate") else _OTHERS
        parts.append(f'<text x="10" y="{top + 13}">{escape(label)}</text>')
        parts.append(f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{_LABELS + length + 6:.1f}" y="{top + 13}">{show(each[figure])}</text>')
        top += _ROW
    return top


def main(source: str, target: str) -> None:
    """Draw a result."""
    result = json.loads(Path(source).read_text())
    Path(target).write_text(draw(result["scenarios"]["tiny"]["medians"]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: picture.py RESULT.json PICTURE.svg")
    main(*sys.argv[1:])
