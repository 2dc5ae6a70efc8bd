"""Stories: what happens in a world, in sentences: the time, who, and what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pirate.testing.world.journal import Event, Journal
from pirate.testing.world.plan import Plan, PlannedCall, PlannedClient

#: The settings that every plan has, whose values say little.
USUAL = frozenset({"minChildTtl", "startTimeout", "reloadTimeout", "stopTimeout"})


def describe(plan: Plan) -> Iterator[str]:
    """Yield lines that say what a plan is made of."""
    if plan.about:
        yield plan.about
    for number, server in enumerate(plan.servers):
        settings = [
            f"{name}={value}" for group in server.values() for name, value in group.items() if name not in USUAL
        ]
        yield f"server {number}: {' '.join(settings)}"
    for client in plan.clients:
        servers = "" if client.servers == [0] else f" of servers {', '.join(map(str, client.servers))}"
        yield f"{client.name}, a client{servers}, makes {_number(len(client.calls), 'call')}"
        for number, call in enumerate(client.calls):
            yield f"  at {call.at:g} {_call(client, number, call)}"
    for fault in plan.faults:
        lasting = f" for {fault.seconds:g} s" if fault.seconds else ""
        yield f"at {fault.at:g} {fault.kind} happens to number {fault.target}{lasting}"
    for number, calls in plan.crashes.items():
        yield f"worker number {number} crashes at its {_number(calls, 'call')} to the outside"
    for number, fate in plan.fates.items():
        yield f"worker number {number} is {fate} when it starts"
    yield f"these are {_number(len(plan), 'choice')}"


def tell(journal: Journal) -> Iterator[str]:
    """Yield a line for each event that matters to a person."""
    words = {requestId: token for _, _, what, (token, requestId, *_) in _of(journal, "asks")}
    for time, who, what, more in journal.events:
        teller = SENTENCES.get(what)
        if who == "log":
            told: str | None = f"logs: {more[0]}"
            who = "server" if what == "info" else f"server ({what})"
        elif who == "fault":
            told = f"{what} happens to {' for '.join(_shown(each) for each in more)}" + " s" * (len(more) > 1)
        elif who == "invariant":
            who, told = "INVARIANT", f"{what} does not hold: {more[0]}"
        elif teller is not None:
            told = teller(words, *more)
        else:
            told = f"{what} {' '.join(_shown(each) for each in more)}"
        if told:
            yield f"{time:10.4f}  {who:<14} {told}".rstrip()


def _of(journal: Journal, what: str) -> Iterator[Event]:
    return (event for event in journal.events if event[2] == what)


def _call(client: PlannedClient, number: int, call: PlannedCall) -> str:
    steps = ", then ".join(" ".join(map(str, step)) for step in call.steps) or "nothing"
    more = f" within {call.timeout:g} s" + f", {_number(call.attempts, 'attempt')}" * (call.attempts != 1)
    more += f", cancelled at {call.cancelAt:g}" * bool(call.cancelAt) + ", in parts" * call.stream
    return f"its job {client.name.replace(' ', '')}.{number} does {steps};{more}"


def _gets(words: dict[str, str], token: str, outcome: str, value: Any) -> str:
    named = {"reply": "a reply", "silence": "no reply in its time", "": "no answer"}
    return f"gets {named.get(outcome, outcome)} for {token}: {_shown(value)}".removesuffix(": ")


def _answers(words: dict[str, str], requestId: str, code: str) -> str:
    return f"answers {words.get(requestId, requestId)} with {code or 'the reply'}"


def _sends(words: dict[str, str], token: str, *frames: bytes) -> str:
    return f"sends {token} {' '.join(_shown(each) for each in frames)}"


#: What is told of an event, by its word; nothing for what only the invariants need.
SENTENCES: dict[str, Callable[..., str]] = {
    "asks": lambda words, *more: "",
    "sent": lambda words, *more: "",
    "calls": lambda words, token, timeout, attempts, *more: (
        f"calls {token}, with {timeout:g} s and {_number(attempts, 'attempt')}"
    ),
    "gets": _gets,
    "answers": _answers,
    "sends": _sends,
    "begins": lambda words, token, request, attempt, *more: f"begins {token}, attempt {attempt}",
    "ends": lambda words, token, *more: f"has done {token}",
    "raises": lambda words, token, *more: f"raises an error in {token}",
    "dies": lambda words, signal, *more: f"dies of {signal}",
    "exits": lambda words, code, *more: f"exits with code {code}",
    "crashes": lambda words, calls, *more: f"crashes at its call {calls} to the outside",
    "signals": lambda words, pid, signal, *more: f"sends {signal} to worker {pid}",
    "spawns": lambda words, pid, *more: f"spawns worker {pid}",
    "reaps": lambda words, pid, how, *more: f"learns that worker {pid} has ended: {how}",
    "starts": lambda words, *more: "starts",
    "runs": lambda words, *more: "starts",
    "stopping": lambda words, grace, *more: f"is told to stop within {grace:g} s",
    "stopped": lambda words, *more: "has stopped",
    "ready": lambda words, *more: "is ready",
    "quiet": lambda words, *more: "becomes quiet: nothing goes wrong any more",
}


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        text = value.decode("ascii", "backslashreplace")
        return text if text.isprintable() and len(text) < 100 else f"{len(value)} bytes"
    return f"{value:g}" if isinstance(value, float) else str(value)
