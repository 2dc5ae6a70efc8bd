"""What a case is, and how a program runs its cases: one verdict, on one line, for each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from suite.stage import Failed, TestBed

#: Seconds that a good client may wait longer than it must, beside what the machine makes everybody wait.
STALL = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What a case is given.

    :ivar stage: where it starts its programs.
    :ivar seconds: for about how long it does harm.
    :ivar stall: seconds that a good client may wait longer than it must.
    """

    stage: TestBed
    seconds: float
    stall: float = STALL


@dataclass
class Verdict:
    """
    What a case has found.

    :ivar faults: what must not be, each in words with its number; empty if all is well.
    :ivar facts: the figures that it was judged by, for the same line.
    :ivar table: more for people, printed before the line.
    """

    faults: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    table: list[str] = field(default_factory=list)

    def limit(self, what: str, value: float, most: float, unit: str) -> None:
        """Note a figure, which is a fault if it exceeds its limit."""
        text = f"{what} {value:,.0f} {unit}".rstrip()
        bound = f"{most:,.0f} {unit}".rstrip()
        if value > most:
            self.faults.append(f"{text}, above {bound}")
        else:
            self.facts.append(f"{text} (at most {bound})")


@dataclass(frozen=True, slots=True)
class Case:
    """
    One way of doing harm.

    :ivar name: what it is called on the command line.
    :ivar promise: what holds nevertheless, for ``--list``.
    :ivar run: does the harm.
    """

    name: str
    promise: str
    run: Callable[[Trial], Verdict]


def judge(case: Case, seconds: float, stall: float) -> Verdict:
    """Run a case; what keeps it from being run to its end is a fault as well."""
    with TestBed() as stage:
        try:
            return case.run(Trial(stage, seconds, stall))
        except (Failed, OSError) as error:
            return Verdict([f"not run to its end: {error}"])


def lines(case: Case, verdict: Verdict) -> Iterator[str]:
    """The lines that a program prints about a case, its verdict last."""
    yield from verdict.table
    word, texts = ("FAIL", verdict.faults) if verdict.faults else ("ok", verdict.facts)
    yield f"{word:4} {case.name}: {'; '.join(texts)}"


def program(description: str | None, cases: Sequence[Case], seconds: float) -> None:
    """
    Parse a program's command line, and run the cases that it names; the exit status is 1 if one of them fails.

    :param seconds: how long each case does harm, unless the command line says otherwise.
    """
    names = [each.name for each in cases]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", nargs="+", choices=names, metavar="CASE", default=names, help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=seconds, help="how long each case goes on (%(default)s)")
    parser.add_argument(
        "--stall",
        type=float,
        default=STALL,
        help="seconds that a good client may wait longer than its like at a server that is left alone (%(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="say what each case tries, and end")
    options = parser.parse_args()
    if options.list:
        for each in cases:
            print(f"{each.name:12} {each.promise}")
        return
    failed = False
    for each in cases:
        if each.name in options.only:
            verdict = judge(each, options.seconds, options.stall)
            failed = failed or bool(verdict.faults)
            print("\n".join(lines(each, verdict)), flush=True)
    if failed:
        sys.exit(1)
