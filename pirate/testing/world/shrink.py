"""Shrink a plan that fails: take out what the failure does not need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pirate.testing.world.plan import Plan
from pirate.testing.world.run import run

Item = TypeVar("Item")


def shrink(plan: Plan, number: int, most: int = 400) -> Plan:
    """
    Return a smaller plan in which the same invariant does not hold.

    :param number: the number of the invariant.
    :param most: how many plans are tried.
    """
    left = most

    def fails(candidate: Plan) -> bool:
        nonlocal left
        left -= 1
        return any(each.number == number for each in run(candidate).violations)

    smaller = True
    while smaller and left > 0:
        smaller = False
        for candidate in _candidates(plan):
            if left <= 0:
                break
            if fails(candidate):
                plan, smaller = candidate, True
                break
    return plan


def _candidates(plan: Plan) -> Iterator[Plan]:
    """Yield plans with less in them, the least first."""
    yield from _without(plan, "clients", plan.clients)
    yield from _without(plan, "faults", plan.faults)
    for name in ("crashes", "fates"):
        for kept in _parts(list(getattr(plan, name).items())):
            changes: dict[str, Any] = {name: dict(kept)}
            yield replace(plan, **changes)
    for number, client in enumerate(plan.clients):
        for calls in _parts(client.calls):
            yield _changed(plan, number, replace(client, calls=calls))
    for number, client in enumerate(plan.clients):
        for at, call in enumerate(client.calls):
            for steps in _parts(call.steps):
                calls = [*client.calls[:at], replace(call, steps=steps), *client.calls[at + 1 :]]
                yield _changed(plan, number, replace(client, calls=calls))
    for number, server in enumerate(plan.servers):
        for group, settings in server.items():
            for name in settings:
                rest = {each: value for each, value in settings.items() if each != name}
                servers = [*plan.servers]
                servers[number] = {**server, group: rest}
                if _valid(servers[number]):
                    yield replace(plan, servers=servers)


def _valid(server: dict[str, dict[str, Any]]) -> bool:
    """Return whether what is left still bounds a world: without them it would have 50 workers, or wait for minutes."""
    return {"minServers", "maxServers", "startTimeout"} <= server["limits"].keys()


def _without(plan: Plan, name: str, items: list[Any]) -> Iterator[Plan]:
    for kept in _parts(items):
        changes: dict[str, Any] = {name: kept}
        yield replace(plan, **changes)


def _changed(plan: Plan, number: int, client: Any) -> Plan:
    clients = [*plan.clients]
    clients[number] = client
    return replace(plan, clients=clients)


def _parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the items without all of them, without each half, each quarter, and so on."""
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            yield [*items[:start], *items[start + size :]]
        size = size // 2 if size > 1 else 0
