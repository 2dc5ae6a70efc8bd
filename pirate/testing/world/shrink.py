"""
Shrink a plan that fails: take out what the failure does not need.

First blocks of choices are left out, large ones before small ones, as delta debugging does; then what is left is made
simpler: fewer steps, settings, servers, and plainer values.  How many plans are tried is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pirate.testing.world.plan import Plan, PlannedCall, PlannedClient
from pirate.testing.world.run import run

Item = TypeVar("Item")
#: A choice of a plan: the list or the mapping that it is in, then its place or key there.
Choice = tuple[str, Any, int]
#: The numbers of a call that a plan need not choose.
PLAIN_CALL: dict[str, Any] = {"stream": False, "cancelAt": 0.0, "attempts": 1, "timeout": 10.0}
#: The settings without which a world would have 50 workers, or wait for minutes, or workers could not start.
KEPT_SETTINGS = frozenset(
    {"minServers", "maxServers", "startTimeout", "reloadTimeout", "stopTimeout", "minChildTtl"}
    | {"app", "loop", "concurrency"}
)


def shrink(plan: Plan, number: int, most: int = 400) -> Plan:
    """
    Return a smaller plan in which the same invariant does not hold.

    :param number: the number of the invariant.
    :param most: how many plans are tried.
    """
    return Shrinker(lambda tried: any(each.number == number for each in run(tried).violations), most).shrink(plan)


class Shrinker:
    """
    Looks for a smaller plan that still fails.

    :param fails: runs a plan, and returns whether it fails in the same way.
    :param most: how many plans are tried.
    :ivar left: how many more may be tried.
    """

    def __init__(self, fails: Callable[[Plan], bool], most: int) -> None:
        self._fails = fails
        self.left = most

    def shrink(self, plan: Plan) -> Plan:
        """Return a smaller plan that fails."""
        size = None
        while size != (size := _weight(plan)) and self.left > 0:
            plan = self._leaveOut(plan)
            plan = self._simplify(plan)
        return plan

    def _try(self, plan: Plan) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        return self._fails(plan)

    def _leaveOut(self, plan: Plan) -> Plan:
        """Leave out all choices of a kind or of a client, then blocks of them, down to single ones."""
        kept = _choices(plan)
        for group in _groups(plan):
            rest = [each for each in kept if each not in group]
            if self._try(_only(plan, rest)):
                kept = rest
        size = len(kept) // 2
        while size and self.left > 0:
            start, before = 0, len(kept)
            while start < len(kept):
                rest = [*kept[:start], *kept[start + size :]]
                if self._try(_only(plan, rest)):
                    kept = rest
                else:
                    start += size
            if size > 1 or before == len(kept):
                size //= 2
        return _only(plan, kept)

    def _simplify(self, plan: Plan) -> Plan:
        """Take each simpler plan that fails, one after the other."""
        at = 0
        while self.left > 0:
            simpler = [each for each in _simpler(plan) if each != plan]
            while at < len(simpler) and not self._try(simpler[at]):
                at += 1
            if at >= len(simpler):
                break
            plan = simpler[at]
        return plan


def _choices(plan: Plan) -> list[Choice]:
    """Return all choices of a plan, those of a client one after the other."""
    calls = [("calls", at, number) for at, each in enumerate(plan.clients) for number in range(len(each.calls))]
    faults = [("faults", 0, number) for number in range(len(plan.faults))]
    return [
        *calls,
        *faults,
        *(("crashes", 0, each) for each in plan.crashes),
        *(("fates", 0, each) for each in plan.fates),
    ]


def _groups(plan: Plan) -> list[set[Choice]]:
    """Return the choices that belong together: those of each kind, and of each client."""
    groups: dict[Any, set[Choice]] = {}
    for choice in _choices(plan):
        groups.setdefault(choice[:2], set()).add(choice)
    return list(groups.values())


def _only(plan: Plan, kept: Sequence[Choice]) -> Plan:
    """Return a plan with only some of its choices, and without clients that do nothing."""
    chosen = set(kept)
    clients = [
        replace(client, calls=[call for number, call in enumerate(client.calls) if ("calls", at, number) in chosen])
        for at, client in enumerate(plan.clients)
    ]
    return replace(
        plan,
        clients=[each for each in clients if each.calls],
        faults=[each for number, each in enumerate(plan.faults) if ("faults", 0, number) in chosen],
        crashes={number: each for number, each in plan.crashes.items() if ("crashes", 0, number) in chosen},
        fates={number: each for number, each in plan.fates.items() if ("fates", 0, number) in chosen},
    )


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Yield plans that are a little simpler."""
    yield from _withoutServer(plan)
    for number, server in enumerate(plan.servers):
        for group, settings in server.items():
            for name in settings:
                if name not in KEPT_SETTINGS:
                    rest = {each: value for each, value in settings.items() if each != name}
                    servers = [*plan.servers]
                    servers[number] = {**server, group: rest}
                    yield replace(plan, servers=servers)
    for at, client in enumerate(plan.clients):
        for number, call in enumerate(client.calls):
            for simpler in _simplerCalls(call):
                yield _changed(
                    plan, at, replace(client, calls=[*client.calls[:number], simpler, *client.calls[number + 1 :]])
                )


def _simplerCalls(call: PlannedCall) -> Iterator[PlannedCall]:
    for at in range(len(call.steps)):
        yield replace(call, steps=[*call.steps[:at], *call.steps[at + 1 :]])
    for name, value in PLAIN_CALL.items():
        if getattr(call, name) != value:
            change: dict[str, Any] = {name: value}
            yield replace(call, **change)


def _withoutServer(plan: Plan) -> Iterator[Plan]:
    """Yield the plan without its last server."""
    last = len(plan.servers) - 1
    if last:
        clients = [
            replace(each, servers=[number for number in each.servers if number != last] or [0]) for each in plan.clients
        ]
        yield replace(plan, servers=plan.servers[:-1], clients=clients)


def _changed(plan: Plan, at: int, client: PlannedClient) -> Plan:
    clients = [*plan.clients]
    clients[at] = client
    return replace(plan, clients=clients)


def _weight(plan: Plan) -> tuple[int, int]:
    """Return how large a plan is: its choices, then the settings and the steps."""
    settings = sum(len(group) for server in plan.servers for group in server.values())
    steps = sum(len(call.steps) for client in plan.clients for call in client.calls)
    return len(plan), settings + steps
