"""Scenarios in which clients ask and workers answer."""

from __future__ import annotations

from suite.contestants import AUTO, CONTESTANTS, CURVE, DIRECT, LISTED, PROXY, QUEUE, SEVERAL, STRICT, TRACED
from suite.measure import Load, loaded
from suite.scenario import Scenario, Target

_RATE = ("rate", "cpu", "worker", "load", "p50", "p99")

TINY = Scenario(
    "tiny",
    "32 bytes echoed, 2 workers, 64 clients with 4 requests each under way",
    _RATE,
    tuple(loaded(each, 2, Load()) for each in CONTESTANTS),
    (
        Target("rate", AUTO.name, QUEUE.name, least=6, slow=(8000, 4.5)),
        Target("rate", AUTO.name, PROXY.name, least=0.55),
        Target("rate", STRICT.name, QUEUE.name, least=1.2),
    ),
)

ONE_EACH = Scenario(
    "strict",
    "the same with 8 workers, none of which may hold two requests",
    _RATE,
    tuple(loaded(each, 8, Load()) for each in (STRICT, QUEUE)),
    (Target("rate", STRICT.name, QUEUE.name, least=1.2),),
)

ONE = Scenario(
    "one",
    "one client with one request under way, 2 workers",
    ("p50", "p99", "rate", "cpu", "load"),
    tuple(loaded(each, 2, Load(clients=1, outstanding=1)) for each in CONTESTANTS),
    (Target("p50", AUTO.name, QUEUE.name, most=1.2),),
)

MILLISECONDS = Scenario(
    "ms",
    "jobs that sleep for 1 or 10 ms, 2 workers, 8 clients with 2 requests each under way",
    ("efficiency", "rate", "cpu", "worker", "load"),
    tuple(
        loaded(each, 2, Load(clients=8, outstanding=16, job=milliseconds / 1000), f"{milliseconds} ms")
        for milliseconds in (1, 10)
        for each in (AUTO, STRICT, QUEUE, PROXY)
    ),
    tuple(
        Target("efficiency", f"{each.name}, {milliseconds} ms", least=least)
        for milliseconds, least in ((1, 0.93), (10, 0.985))
        for each in (AUTO,)
    ),
)

_LOADS = {
    "tiny": Load(),
    "one client, 64": Load(clients=1, outstanding=64),
    "1 ms": Load(clients=8, outstanding=16, job=0.001),
    "mixed": Load(clients=16, outstanding=16, job=0.02, share=0.01),
}

TURNS = Scenario(
    "turns",
    "pirate with 2 workers under several loads: messages in a turn of the broker that has any, and the credit",
    ("fromClients", "toWorkers", "fromWorkers", "toClients", "turns", "longest", "credit", "lowest", "announced"),
    tuple(loaded(TRACED, 2, load, what) for what, load in _LOADS.items()),
    (
        *(Target("lowest", f"{TRACED.name}, {what}", least=64, every=True) for what in ("tiny", "one client, 64")),
        *(Target("longest", f"{TRACED.name}, {what}", most=20, every=True) for what in _LOADS),
    ),
)

KEYS = Scenario(
    "keys",
    "what it costs to ask for CURVE keys, and for addresses: bodies echoed, 2 workers, 64 clients with 4 requests each",
    ("rate", "cpu", "load", "p50", "p99", "mb"),
    tuple(
        loaded(each, 2, Load(size=size), what)
        for what, size in (("32 bytes", 0), ("64 KiB", 1 << 16))
        for each in (AUTO, LISTED, CURVE)
    ),
    (
        Target("rate", f"{CURVE.name}, 32 bytes", f"{AUTO.name}, 32 bytes", least=0.6),
        Target("rate", f"{LISTED.name}, 32 bytes", f"{AUTO.name}, 32 bytes", least=0.95),
    ),
)

_MIX = {
    "1,000/s": Load(clients=16, rate=1000, job=0.02, share=0.01),
    "all it can": Load(clients=16, outstanding=16, job=0.02, share=0.01),
}

MIXED = Scenario(
    "mixed",
    "99 % of the jobs take no time, 1 % sleep for 20 ms; 4 workers, 16 clients; p50 and p99 of the former",
    ("p99", "p50", "rate", "cpu", "load"),
    tuple(loaded(each, 4, load, what) for what, load in _MIX.items() for each in (AUTO, STRICT, QUEUE)),
    tuple(Target("p99", f"{AUTO.name}, {what}", f"{STRICT.name}, {what}", most=2) for what in _MIX),
)

ASYNC = Scenario(
    "async",
    "jobs that wait for 50 ms, 100 at once in 1 worker, 32 clients with 256 requests under way",
    ("rate", "efficiency", "cpu", "load"),
    tuple(loaded(each, 1, Load(clients=32, job=0.05)) for each in SEVERAL),
    tuple(Target("rate", each.name, least=1500) for each in SEVERAL),
)

_SIZES = {"1 MiB": Load(4, 4, size=1 << 20), "64 MiB": Load(2, 2, size=1 << 26)}

LARGE = Scenario(
    "large",
    "large bodies echoed, 2 workers; 4 clients (1 MiB) or 2 (64 MiB) with one request each under way",
    ("mb", "rate", "cpu", "load", "p50"),
    tuple(loaded(each, 2, load, what) for what, load in _SIZES.items() for each in (AUTO, QUEUE, PROXY, DIRECT)),
    tuple(Target("rate", f"{AUTO.name}, {what}", f"{PROXY.name}, {what}", least=0.7) for what in _SIZES),
)
