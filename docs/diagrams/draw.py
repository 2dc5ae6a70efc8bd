"""
Draw the diagrams of the documentation: ``python docs/diagrams/draw.py`` writes one SVG file for each next to itself.

Each picture is 360 units wide, so that a phone shows its text at nearly full size.  Lines and text take the color
of the page around them; the other colors are of medium brightness, so that they can be seen on white and on black.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from math import hypot
from pathlib import Path
from xml.sax.saxutils import escape

from pirate.pool.child import CHILD_TRANSITIONS, ChildState, ChildStatus
from pirate.settings.limits import RequestPolicy

HERE = Path(__file__).parent

#: Units across every picture.
WIDTH = 360
#: Sizes of a name and of what explains it.
NAME, NOTE = 13, 12
#: The width of a letter, as a share of its size, in the wider fonts.
LETTER = 0.58

#: The color of lines and text where the page around gives none.
INK = "#767b84"
CLIENT, BROKER, WORKER, FAILURE = "#b9770e", "#3b82c4", "#3a9a6b", "#d9534f"
PALETTE = (CLIENT, BROKER, WORKER, FAILURE)

Point = tuple[float, float]


class Drawing:
    """
    One picture, from top to bottom.

    :param name: the file's name, and the start of the picture's ids.
    :param title: what it shows, in a few words.
    :param description: the same as the picture, for those who cannot see it.
    :param height: in units.
    """

    def __init__(self, name: str, title: str, description: str, height: int) -> None:
        self.name = name
        self._height = height
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-labelledby="{name}-title {name}-desc" color="{INK}" font-family="sans-serif" font-size="{NAME}" '
            f'style="color: var(--color-foreground-primary, {INK}); font-family: var(--font-stack, sans-serif)">',
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-desc">{escape(description)}</desc>',
        ]

    def svg(self) -> str:
        """Return the file's text."""
        return "\n".join([*self._parts, "</svg>", ""])

    def box(self, left: float, top: float, width: float, height: float, color: str, *lines: str) -> None:
        """
        Draw a box around a name, and around what explains it.

        :param lines: the name, then notes in smaller letters.
        """
        self._parts.append(
            f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6" fill="{color}" '
            f'fill-opacity="0.14" stroke="{color}" stroke-width="1.5"/>'
        )
        baseline = top + (height - 16 * (len(lines) - 1)) / 2 + 4.5
        for number, line in enumerate(lines):
            self.text(left + width / 2, baseline + 16 * number, line, bold=not number, room=width - 4)

    def frame(self, left: float, top: float, width: float, height: float) -> None:
        """Draw a dashed line around several boxes."""
        self._parts.append(
            f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="8" fill="none" '
            'stroke="currentColor" stroke-opacity="0.6" stroke-dasharray="4 4"/>'
        )

    def text(
        self, x: float, y: float, line: str, *, anchor: str = "middle", bold: bool = False, room: float = WIDTH
    ) -> None:
        """
        Write a line.

        :param x: where it starts, has its middle, or ends, as ``anchor`` says.
        :param bold: whether it is a name.
        :param room: how wide it may be.
        :raise ValueError: if it is wider than that, or leaves the picture.
        """
        width = len(line) * LETTER * (NAME if bold else NOTE)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        if width > room or left < 0 or left + width > WIDTH or y > self._height:
            raise ValueError(f"{self.name}: there is no room for {line!r}")
        style = 'font-weight="600"' if bold else f'font-size="{NOTE}"'
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor" {style}>{escape(line)}</text>'
        )

    def arrow(self, *points: Point, both: bool = False, dashed: bool = False, color: str = "currentColor") -> None:
        """
        Draw an arrow through points, each straight below, above or beside the one before it.

        :param both: whether it has a head at each end.
        """
        if both:
            self._head(points[1], points[0], color)
        self._head(points[-2], points[-1], color)
        path = " L".join(f"{x:g},{y:g}" for x, y in _shortened(points, both))
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.3" stroke-linejoin="round"{dashes}/>'
        )

    def line(self, start: Point, end: Point) -> None:
        """Draw a thin line."""
        self._parts.append(
            f'<path d="M{start[0]:g},{start[1]:g} L{end[0]:g},{end[1]:g}" stroke="currentColor" stroke-opacity="0.45"/>'
        )

    def cross(self, x: float, y: float) -> None:
        """Draw the mark of an unexpected end."""
        self._parts.append(
            f'<path d="M{x - 7:g},{y - 7:g} l14,14 m0,-14 l-14,14" stroke="{FAILURE}" stroke-width="3" '
            'stroke-linecap="round"/>'
        )

    def dot(self, x: float, y: float) -> None:
        """Draw the mark of a start."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="currentColor"/>')

    def _head(self, before: Point, tip: Point, color: str) -> None:
        along, across = _direction(before, tip)
        back = (tip[0] - 8 * along, tip[1] - 8 * across)
        wings = f"{back[0] - 4 * across:g},{back[1] + 4 * along:g} {back[0] + 4 * across:g},{back[1] - 4 * along:g}"
        self._parts.append(f'<polygon points="{tip[0]:g},{tip[1]:g} {wings}" fill="{color}"/>')


def _direction(start: Point, end: Point) -> Point:
    length = hypot(end[0] - start[0], end[1] - start[1])
    return (end[0] - start[0]) / length, (end[1] - start[1]) / length


def _shortened(points: Sequence[Point], both: bool) -> Iterable[Point]:
    """Return the points of an arrow's line, which ends within its heads."""
    trimmed = list(points)
    for end, neighbour in ((-1, -2), (0, 1)) if both else ((-1, -2),):
        along, across = _direction(points[neighbour], points[end])
        trimmed[end] = (points[end][0] - 5 * along, points[end][1] - 5 * across)
    return trimmed


def broker() -> Drawing:
    """Draw clients, the broker between its two sockets, and workers."""
    drawing = Drawing(
        "broker",
        "Broker and workers",
        "Clients, which are REQ sockets in any language, the command pirate-client or a Client in Python, send "
        "requests to the frontend of the broker and receive replies from it. The broker is one process. It gives each "
        "request to an idle worker at its backend and receives the reply. Workers are processes that run your app. "
        "The broker starts, watches and replaces them.",
        280,
    )
    columns = (60, 180, 300)
    for x, name, note in zip(
        columns, ("REQ socket", "pirate-client", "Client"), ("any language", "shell", "Python"), strict=True
    ):
        drawing.box(x - 54, 8, 108, 42, CLIENT, name, note)
        drawing.arrow((x, 50), (x, 84), both=True)
    drawing.box(6, 84, 348, 90, BROKER, "broker", "queues each request, picks an idle worker")
    drawing.line((6, 108), (354, 108))
    drawing.line((6, 150), (354, 150))
    drawing.text(180, 101, "frontend (ROUTER)")
    drawing.text(180, 167, "backend (ROUTER)")
    drawing.frame(6, 200, 348, 76)
    for x in columns:
        drawing.arrow((x, 174), (x, 208), both=True)
        drawing.box(x - 48, 208, 96, 42, WORKER, "worker", "your app")
    drawing.text(180, 268, "started, watched and replaced by the broker")
    return drawing


#: How a request can end without a reply: what the group is called, and the codes, for each state.
ENDINGS = {
    "received": ("refused", ("busy", "denied", "malformed", "stopping", "unknown-service")),
    "waiting": ("not run", ("cancelled", "expired", "stopping")),
    "in flight": ("failed", ("app-error", "cancelled", "timeout", "worker-lost")),
}


def request() -> Drawing:
    """Draw the states of a request, and all of its outcomes."""
    codes = "; ".join(f"{state}: {', '.join(codes)}" for state, (_, codes) in ENDINGS.items())
    drawing = Drawing(
        "request",
        "A request's life",
        "A request is received and checked, gets an id, waits in the backlog until a worker is free, is in flight "
        "while the worker runs the app on it, and ends with the reply to the client. If its worker dies, it goes back "
        f"to the front of the backlog. Each state can end in an error instead. {codes}.",
        400,
    )
    left, width, height, right = 70, 150, 44, 248
    rows = {"received": 28, "waiting": 140, "in flight": 240, "replied": 350}
    notes = ("checked on arrival", "in the backlog", "a worker runs it", "reply to the client")
    colors = (BROKER, BROKER, WORKER, CLIENT)
    for (state, top), note, color in zip(rows.items(), notes, colors, strict=True):
        drawing.box(left, top, width, height, color, state, note)
    middle = left + width / 2
    for before, after, why in (
        ("received", "waiting", "gets an id"),
        ("waiting", "in flight", "worker free"),
        ("in flight", "replied", "app returns"),
    ):
        drawing.arrow((middle, rows[before] + height), (middle, rows[after]))
        drawing.text(middle + 10, (rows[before] + height + rows[after]) / 2 + 2, why, anchor="start")
    for state, (group, codes_) in ENDINGS.items():
        tall = 16 * len(codes_) + 26
        middleOf = rows[state] + height / 2
        top = max(middleOf - tall / 2, 4)
        drawing.box(right, top, 110, tall, FAILURE, group, *codes_)
        drawing.arrow((left + width, middleOf), (right, middleOf), color=FAILURE)
    drawing.arrow(
        (left, rows["in flight"] + 14),
        (left - 16, rows["in flight"] + 14),
        (left - 16, rows["waiting"] + 30),
        (left, rows["waiting"] + 30),
        dashed=True,
    )
    drawing.text(left - 22, rows["waiting"] + 68, "worker", anchor="end")
    drawing.text(left - 22, rows["waiting"] + 84, "died", anchor="end")
    return drawing


def death() -> Drawing:
    """Draw what happens when a worker dies with a request in flight."""
    attempts = RequestPolicy().maxAttempts
    drawing = Drawing(
        "death",
        "What happens when a worker dies",
        "The client sends a request, and the broker gives it to worker 1, which is killed. The operating system tells "
        "the broker within milliseconds. The broker charges the request with an attempt, puts it at the front of the "
        "backlog, gives it to worker 2, and starts a new worker, worker 3. Worker 2 replies, and the client receives "
        f"the reply. After {attempts} deaths the client would receive the error worker-lost instead.",
        430,
    )
    client, server, first, second = 34, 118, 222, 318
    bottom = 384
    for x, name, color, end in (
        (client, "client", CLIENT, bottom),
        (server, "broker", BROKER, 162),
        (first, "worker 1", WORKER, 116),
        (second, "worker 2", WORKER, bottom),
    ):
        drawing.line((x, 38), (x, end))
        drawing.box(x - 32 - 4 * (color == WORKER), 6, 64 + 8 * (color == WORKER), 32, color, name)
    drawing.line((server, 204), (server, bottom))
    _message(drawing, client, server, 66, "request")
    _message(drawing, server, first, 90, "request")
    drawing.cross(first, 116)
    drawing.text(first + 14, 120, "killed", anchor="start", room=80)
    _message(drawing, first - 10, server, 146, "process exit", dashed=True)
    drawing.box(server - 74, 162, 148, 42, BROKER, "attempt 1 charged", "front of the backlog")
    _message(drawing, server, second, 232, "request, attempt 2")
    drawing.box(first - 36, 262, 72, 32, WORKER, "worker 3")
    _message(drawing, server, first - 36, 278, "start", dashed=True)
    _message(drawing, second, server, 326, "reply")
    _message(drawing, server, client, 352, "reply")
    drawing.text(180, 404, f"After {attempts} deaths (max-attempts)")
    drawing.text(180, 421, "the client gets worker-lost instead.")
    return drawing


def _message(drawing: Drawing, start: float, end: float, y: float, words: str, *, dashed: bool = False) -> None:
    """Draw a message from one line of a sequence to another, its words above it."""
    drawing.arrow((start, y), (end, y), dashed=dashed)
    drawing.text((start + end) / 2, y - 5, words)


#: What the frame in the picture of a child goes around: the steps out of the frame are those of each of them.
SERVING = (ChildStatus.STARTING, ChildStatus.WAITING, ChildStatus.PROCESSING, ChildStatus.DEQUEUE)
#: The steps within the frame.
WITHIN = (
    (ChildStatus.STARTING, ChildStatus.WAITING),
    (ChildStatus.STARTING, ChildStatus.DEQUEUE),
    (ChildStatus.WAITING, ChildStatus.PROCESSING),
    (ChildStatus.PROCESSING, ChildStatus.WAITING),
)
#: The states of the pool that are drawn under the name of a status, where the names differ.
READY = {ChildStatus.WAITING: ChildState.READY, ChildStatus.PROCESSING: ChildState.READY}


def _stateOf(drawn: ChildStatus | ChildState) -> ChildState:
    """Return the state of the pool that a box of the picture shows."""
    return drawn if isinstance(drawn, ChildState) else READY.get(drawn) or ChildState(drawn.value)


def child() -> Drawing:
    """
    Draw the states of a child as they are reported.

    :raise ValueError: if the picture and the table of transitions differ.
    """
    leaving = [(status, after) for status in SERVING for after in (ChildStatus.RETIRING, ChildState.GONE)]
    steps = (*WITHIN, *leaving, (ChildStatus.RETIRING, ChildState.GONE))
    drawn = {(_stateOf(before), _stateOf(after)) for before, after in steps} - {(ChildState.READY, ChildState.READY)}
    if drawn != {(before, after) for before, following in CHILD_TRANSITIONS.items() for after in following}:
        raise ValueError("the picture of a child's states does not show the table of its transitions")
    drawing = Drawing(
        "child",
        "A child's states",
        "A child is spawned in the state starting. A worker that is ready is waiting; with a request in flight it is "
        "processing, and with its last reply it is waiting again. A child that runs the dequeue callable goes from "
        "starting to dequeue. From each of these states it can go to retiring, when it is asked to leave or leaves, "
        "and to gone, when its process ends. From retiring it goes to gone.",
        432,
    )
    width, height = 104, 34
    places: dict[ChildStatus | ChildState, tuple[int, int]] = {
        ChildStatus.STARTING: (180, 44),
        ChildStatus.WAITING: (96, 132),
        ChildStatus.DEQUEUE: (264, 132),
        ChildStatus.PROCESSING: (96, 222),
        ChildStatus.RETIRING: (96, 318),
        ChildState.GONE: (96, 392),
    }
    drawing.dot(180, 8)
    drawing.arrow((180, 13), (180, 44))
    drawing.text(190, 24, "spawned", anchor="start")
    drawing.frame(14, 34, 332, 236)
    for each, (x, y) in places.items():
        color = WORKER if each in SERVING else FAILURE if each is ChildState.GONE else BROKER
        drawing.box(x - width / 2, y, width, height, color, each.value)
    drawing.arrow((154, 78), (154, 104), (96, 104), (96, 132))
    drawing.text(88, 120, "ready", anchor="end")
    drawing.arrow((206, 78), (206, 104), (264, 104), (264, 132))
    drawing.text(272, 120, "ready", anchor="start")
    drawing.text(264, 184, "runs the dequeue")
    drawing.text(264, 200, "callable, once")
    drawing.arrow((82, 166), (82, 222))
    drawing.text(74, 198, "request", anchor="end")
    drawing.arrow((110, 222), (110, 166))
    drawing.text(118, 198, "last reply", anchor="start")
    drawing.arrow((96, 270), (96, 318))
    drawing.text(106, 298, "asked to leave, or leaves", anchor="start")
    drawing.arrow((96, 352), (96, 392))
    drawing.text(106, 376, "process ends", anchor="start")
    drawing.arrow((314, 270), (314, 409), (148, 409))
    drawing.text(306, 424, "process ends", anchor="end")
    return drawing


DRAWINGS: tuple[Callable[[], Drawing], ...] = (broker, request, death, child)


def main(folder: Path = HERE) -> None:
    """Write every picture into a folder."""
    for draw in DRAWINGS:
        drawing = draw()
        (folder / f"{drawing.name}.svg").write_text(drawing.svg())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
