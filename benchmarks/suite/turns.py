"""
What ``programs/traced.py`` tells of a broker: the messages of each of its turns, and the credit of its workers.

It writes a line ten times a second, with counts since its start and what held since the line before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from suite.scenario import Figures

#: The legs: messages from and to clients, and from and to workers.
LEGS = ("fromClients", "toWorkers", "fromWorkers", "toClients")

#: One line: ``at`` (seconds, monotonic), ``turns`` (in which there were messages) and ``announced`` (credits); for
#: each leg its messages, and under its name with ``Turns`` the turns with any; ``longest`` (seconds of the longest
#: turn since the line before), and ``credits`` (the lowest credit of each worker since then, and its last one).
Line = Mapping[str, Any]


def parse(lines: Iterable[str]) -> list[Line]:
    """Parse what the program has written, without a line that it has not finished."""
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def figures(lines: Sequence[Line], began: float, ended: float, requests: int) -> Figures:
    """
    Return the figures of a time.

    :param began: when it began, by the monotonic clock.
    :param ended: when it ended.
    :param requests: how many requests were answered meanwhile.
    :return: the messages of each leg in a turn that has any; ``turns`` and ``announced``, for 1,000 requests;
        ``longest``, milliseconds; ``credit``, the mean, and ``lowest``.  Nothing, if the time was too short.
    """
    within = [each for each in lines if began <= each["at"] <= ended]
    if len(within) < 2 or not requests:
        return {}
    first, last = within[0], within[-1]
    # The lines cover a little less than the whole time.
    thousands = requests * (last["at"] - first["at"]) / (ended - began) / 1000
    told: Figures = {name: (last[name] - first[name]) / thousands for name in ("turns", "announced")}
    for leg in LEGS:
        count = last[f"{leg}Turns"] - first[f"{leg}Turns"]
        if count:
            told[leg] = (last[leg] - first[leg]) / count
    told["longest"] = max(each["longest"] for each in within[1:]) * 1000
    credits = [pair for each in within[1:] for pair in each["credits"].values()]
    if credits:
        told["lowest"] = min(lowest for lowest, _ in credits)
        told["credit"] = sum(now for _, now in credits) / len(credits)
    return told
