"""
Plans: what happens in a world.

A plan is short and readable: settings, calls, peers and faults, each with its time.  It is chosen by a seed, or written
by hand, or what is left of one when everything that a failure does not need has been taken out.  All other randomness,
such as the delays on the network, is noise, which the seed of the plan gives to each actor by its name.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pirate.testing.world.choices import Choices

#: Seconds in which calls are made and faults happen.
BUSY = 20.0


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """
    A call of a client.

    :ivar at: when it is made.
    :ivar steps: what its job does; see :mod:`pirate.testing.world.apps`.
    :ivar timeout: seconds, for a native client; how long a plain one waits.
    :ivar attempts: how many times it is sent.
    :ivar cancelAt: when its caller cancels it; 0 for never.
    :ivar stream: whether its caller takes the reply in parts.
    """

    at: float
    steps: list[list[Any]]
    timeout: float = 10.0
    attempts: int = 2
    cancelAt: float = 0.0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class PlannedClient:
    """
    A client.

    :ivar kind: ``native``, ``plain`` (a REQ that waits), ``pirate`` (a REQ that gives up and sends again), ``flood`` (a
        DEALER that sends everything at once), ``hostile``.
    :ivar servers: the numbers of the servers that it knows.
    :ivar calls: its calls.
    """

    name: str
    kind: str
    servers: list[int]
    calls: list[PlannedCall]


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Something that goes wrong.

    :ivar at: when it begins.
    :ivar kind: a key of :data:`pirate.testing.world.faults.FAULTS`.
    :ivar target: the number of its victim among those that there are.
    :ivar seconds: how long it lasts, if it does.
    """

    at: float
    kind: str
    target: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What happens in a world.

    :ivar seed: the seed of the noise.
    :ivar servers: the settings of each server, by group and name.
    :ivar clients: the clients.
    :ivar faults: the faults.
    :ivar crashes: by the number of a worker process, in the order of their start: the call to the outside at which it
        dies.
    :ivar fates: by the same number, what becomes of it while it starts.
    :ivar about: why the plan was kept, if it was.
    """

    seed: int
    servers: list[dict[str, dict[str, Any]]]
    clients: list[PlannedClient] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    crashes: dict[int, int] = field(default_factory=dict)
    fates: dict[int, str] = field(default_factory=dict)
    about: str = ""

    def encode(self) -> str:
        """Return the plan as JSON, with a line for each server, client, call and fault."""
        fields = asdict(self)
        fields = {"about": fields.pop("about"), **fields}
        lines = [f" {json.dumps(name)}: {_lines(value)}" for name, value in fields.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def decode(cls, text: str) -> Plan:
        """Read a plan that :meth:`encode` has written."""
        read = json.loads(text)
        clients = [
            PlannedClient(**{**each, "calls": [PlannedCall(**call) for call in each["calls"]]})
            for each in read["clients"]
        ]
        return cls(
            read["seed"],
            read["servers"],
            clients,
            [Fault(**each) for each in read["faults"]],
            {int(number): call for number, call in read["crashes"].items()},
            {int(number): fate for number, fate in read["fates"].items()},
            read["about"],
        )

    def __len__(self) -> int:
        """Return how many choices it has, beside the settings."""
        calls = sum(len(client.calls) for client in self.clients)
        return calls + len(self.faults) + len(self.crashes) + len(self.fates)


def _lines(value: Any) -> str:
    """Return a value as JSON, each item of a list on a line of its own, and each call of a client."""
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    lines = []
    for each in value:
        text = json.dumps({name: item for name, item in each.items() if name != "calls"})
        if "calls" in each:
            calls = ",\n".join(f"   {json.dumps(call)}" for call in each["calls"])
            text = f'{text[:-1]}, "calls": [\n{calls}]}}'
        lines.append(f"  {text}")
    return "[\n" + ",\n".join(lines) + "]"


def token(client: str, number: int) -> str:
    """Return the token of a client's call."""
    return f"{client.replace(' ', '')}.{number}"


def draw(seed: int) -> Plan:
    """Choose the plan of a seed."""
    choices = Choices(seed)
    servers = [_settings(choices) for _ in range(choices.weighted({1: 3, 2: 1}))]
    clients = [_client(choices, number, len(servers)) for number in range(choices.between(1, 8))]
    calm = choices.chance(0.15)
    faults = [] if calm else [_fault(choices) for _ in range(choices.between(0, 12))]
    faults.sort(key=lambda fault: fault.at)
    crashes: dict[int, int] = {}
    fates: dict[int, str] = {}
    if not calm:
        for number in range(40):
            if choices.chance(0.1):
                crashes[number] = int(choices.spread(1, 2000))
            # The first workers of a server must be able to start, or it stops.
            if number >= 8 and choices.chance(0.1):
                fates[number] = choices.pick(["slow", "crash", "hang", "unloadable"])
    return Plan(seed, servers, clients, faults, crashes, fates)


def _settings(choices: Choices) -> dict[str, dict[str, Any]]:
    least = choices.between(1, 3)
    most = least + choices.between(0, 3)
    limits: dict[str, Any] = {"minServers": least, "maxServers": most, "minChildTtl": 1.0, "startTimeout": 5.0}
    limits |= {"reloadTimeout": 6.0, "stopTimeout": 3.0}
    if choices.chance(0.3):
        limits |= {"maxRequests": choices.between(3, 40), "maxRequestsJitter": choices.between(0, 2)}
    else:
        limits["maxRequests"] = 0
    if choices.chance(0.2):
        limits["maxAge"] = choices.seconds(3, 15)
    if choices.chance(0.2):
        limits["checkForWaiting"] = choices.seconds(0.5, 5)
    policy: dict[str, Any] = {"maxAttempts": choices.between(1, 4), "deliveryTimeout": choices.seconds(1, 6)}
    if choices.chance(0.4):
        policy["jobTimeout"] = choices.seconds(1, 4)
        if choices.chance(0.5):
            policy["jobSoftTimeout"] = choices.seconds(0.2, 0.9)
    if choices.chance(0.3):
        policy |= {"backlog": choices.between(4, 40), "backlogPolicy": choices.pick(["wait", "reject"])}
    if choices.chance(0.3):
        policy["requestTimeout"] = choices.seconds(0.5, 5)
    if choices.chance(0.3):
        policy["cancelGrace"] = choices.seconds(0.2, 2)
    if choices.chance(0.2):
        policy["rememberSeconds"] = choices.seconds(0, 3)
    peers: dict[str, Any] = {}
    if choices.chance(0.15):
        peers["clientRequests"] = choices.between(1, 10)
    if choices.chance(0.15):
        peers["rate"] = choices.seconds(5, 50)
    server: dict[str, Any] = {}
    if choices.chance(0.3):
        server["prefetch"] = choices.between(1, 4)
    if choices.chance(0.2):
        server["errorReply"] = True
    return {"limits": limits, "policy": policy, "peerLimits": peers, "server": server}


def _client(choices: Choices, number: int, servers: int) -> PlannedClient:
    kind = choices.weighted({"native": 6, "plain": 1.5, "pirate": 1.5, "flood": 1, "hostile": 1})
    name = f"{kind} {number}"
    first = choices.between(0, servers - 1)
    known = list(range(servers)) if servers > 1 and kind == "native" and choices.chance(0.7) else [first]
    count = choices.between(1, 60) if kind in ("flood", "native") else choices.between(1, 20)
    # Very many jobs, most of them tiny, earn a worker a high credit.
    many = kind in ("flood", "native") and choices.chance(0.02)
    count = 1500 if many else count
    begin, pause = choices.seconds(0, BUSY / 2), choices.spread(0.0005, 0.002 if many else 0.5)
    # What begins at the same moment goes in one message.
    together = choices.between(1, 20) if kind == "native" and choices.chance(0.4) else 1
    calls = []
    at = begin
    for number in range(count):
        if kind != "flood" and number % together == 0:
            at += choices.seconds(0, 2 * pause)
        if at > BUSY:
            break
        calls.append(_call(choices, round(at, 6), kind, many))
    return PlannedClient(name, kind, known, calls)


def _call(choices: Choices, at: float, kind: str, many: bool) -> PlannedCall:
    steps: list[list[Any]] = []
    duration = choices.weighted({"tiny": 1500 if many else 5, "short": 3, "long": 1, "none": 1})
    if duration != "none":
        least, most = {"tiny": (0.00001, 0.0001 if many else 0.001), "short": (0.001, 0.05), "long": (0.05, 3.0)}[
            duration
        ]
        word = choices.weighted({"sleep": 5000 if many else 8, "compute": 1, "cancellable": 1})
        steps.append([word, choices.spread(least, most)])
    end = choices.weighted(
        {
            "": 5000 if many else 60,
            "raise": 4,
            "exit": 1,
            "end": 1,
            "die": 1.5,
            "print": 2,
            "nonsense": 1,
            "parts": 5,
            "hang": 0.5,
        }
    )
    argument: Any = {
        "raise": "as it was told",
        "exit": choices.pick([0, 3]),
        "end": choices.pick([0, 7]),
        "die": choices.pick(["SIGSEGV", "SIGKILL", "SIGABRT"]),
        "print": choices.between(1, 300),
        "parts": choices.between(0, 20),
    }.get(end, 0)
    if end == "hang":
        steps.append([choices.pick(["sleep", "compute"]), 1e6])
    elif end:
        steps.append([end, argument])
    timeout = choices.weighted({10.0: 4, 2.0: 2, 0.5: 1})
    attempts = choices.between(1, 3)
    cancelAt = round(at + choices.spread(0.001, 2), 6) if kind == "native" and choices.chance(0.05) else 0.0
    stream = end == "parts" and choices.chance(0.7)
    return PlannedCall(at, steps, timeout, attempts, cancelAt, stream)


#: How often each kind of fault happens, beside the others.
WEIGHTS: dict[str, float] = {
    "killWorker": 4,
    "termWorker": 1,
    "stopWorker": 2,
    "abortWorker": 1,
    "cutWorker": 2,
    "stickWorker": 1,
    "slowWorker": 1,
    "cutClient": 3,
    "stickClient": 1,
    "slowClient": 1,
    "stopServer": 1,
    "killServer": 0.7,
    "reload": 1,
    "grow": 0.5,
    "shrink": 0.5,
    "restart": 0.5,
}


def _fault(choices: Choices) -> Fault:
    at = choices.seconds(0, BUSY)
    kind = choices.weighted(WEIGHTS)
    return Fault(at, kind, choices.between(0, 7), choices.spread(0.05, 5))
