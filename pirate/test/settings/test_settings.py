# -*- test-case-name: pirate.test.settings.test_settings -*-
"""The table of settings: defaults, what moves, what contradicts, what is nonsense."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from types import FunctionType
from typing import Any, get_type_hints

from twisted.trial.unittest import SynchronousTestCase

from pirate.echo import echo
from pirate.errors import ConfigurationError
from pirate.settings.limits import PeerLimits, PoolLimits
from pirate.settings.settings import LimitChanges, Settings, SettingsArguments, fromText
from pirate.settings.table import optionName, table

#: Net::Server's options, and ours beside them, with their defaults as the documentation gives them.
COUNTS = {
    "min-servers": 5,
    "max-servers": 50,
    "min-spare-servers": 2,
    "max-spare-servers": 10,
    "max-requests": 1000,
    "max-requests-jitter": 100,
    "max-dequeue": 1,
}
TIMES = {
    "check-for-waiting": 10,
    "min-child-ttl": 10,
    "check-for-dead": 30,
    "check-for-dequeue": 0,
    "start-timeout": 30,
    "stop-timeout": 30,
}
LIMITS = {**COUNTS, **TIMES}
SETTINGS = {
    "frontend": ("tcp://127.0.0.1:6660",),
    "backend": ("tcp://127.0.0.1:6661",),
    "app": "pirate.echo.echo",
    "dequeue": None,
    "hooks": None,
    "external-workers": False,
    "error-reply": False,
    "curve-secret": None,
    "curve-clients": None,
    "curve-workers": None,
    "allow": (),
    "deny": (),
    "insecure": False,
    "log-level": 2,
}
SIZES = ("minServers", "maxServers", "minSpareServers", "maxSpareServers")


def sizes(limits: PoolLimits) -> tuple[int, ...]:
    """The four numbers of servers."""
    return tuple(getattr(limits, name) for name in SIZES)


def attribute(option: str) -> str:
    """An option's name in Python."""
    first, *rest = option.split("-")
    return first + "".join(word.capitalize() for word in rest)


class Refusals(SynchronousTestCase):
    """Tests of what is refused."""

    def refusal(self, make: Any, *args: Any, **given: Any) -> str:
        """The one line with which something is refused."""
        message = str(self.assertRaises(ConfigurationError, make, *args, **given))
        self.assertNotIn("\n", message)
        return message

    def assertRefused(self, option: str, value: Any, make: Any, *args: Any, **given: Any) -> None:
        """It is refused by a message with the option, the value and what would be right."""
        message = self.refusal(make, *args, **given)
        self.assertIn(option, message)
        self.assertIn(repr(value), message)
        self.assertIn("must be", message)


class DefaultTests(SynchronousTestCase):
    """What holds if nothing is said."""

    def test_limits(self) -> None:
        """The limits are Net::Server::PreFork's."""
        limits = PoolLimits()
        self.assertEqual({name: getattr(limits, attribute(name)) for name in LIMITS}, LIMITS)

    def test_settings(self) -> None:
        """The rest is safe: loopback, our own workers, no errors in the place of answers."""
        settings = Settings()
        self.assertEqual({name: getattr(settings, attribute(name)) for name in SETTINGS}, SETTINGS)
        self.assertEqual(settings.limits, PoolLimits())

    def test_commandLine(self) -> None:
        """An empty command line says the same."""
        self.assertEqual(fromText({}), Settings())

    def test_table(self) -> None:
        """The table has each of these once, by the name it has on the command line, with its default and help."""
        for owner, expected in ((PoolLimits, LIMITS), (Settings, SETTINGS)):
            rows = {row.name: row for row in table(owner)}
            self.assertEqual({name: rows[name].default for name in expected}, expected)
            self.assertEqual(len(rows), len(list(table(owner))))
            for row in rows.values():
                self.assertEqual(optionName(row.attribute), row.name)
                self.assertTrue(row.help and row.kind.words)

    def test_frozen(self) -> None:
        """Nobody can change them unchecked."""
        for values in (PoolLimits(), Settings()):
            self.assertRaises(AttributeError, setattr, values, next(iter(table(type(values)))).attribute, 1)


class MovingTests(Refusals):
    """Defaults that make room for what was given, and given values that contradict each other."""

    def test_table(self) -> None:
        """What the others become when some are given."""
        expected: dict[tuple[tuple[str, int], ...], tuple[int, ...]] = {
            (): (5, 50, 2, 10),
            (("maxServers", 11),): (5, 11, 2, 10),
            (("maxServers", 10),): (5, 10, 2, 9),
            (("maxServers", 3),): (3, 3, 2, 2),
            (("maxServers", 1),): (1, 1, 0, 0),
            (("maxServers", 0),): (0, 0, 0, 0),
            (("minServers", 60),): (60, 60, 2, 10),
            (("minServers", 1),): (1, 50, 1, 10),
            (("minServers", 0),): (0, 50, 0, 10),
            (("minServers", 4), ("maxServers", 4)): (4, 4, 2, 3),
            (("minServers", 1), ("maxServers", 1)): (1, 1, 0, 0),
            (("minServers", 20), ("maxServers", 80)): (20, 80, 2, 10),
            (("minServers", 2), ("maxServers", 4)): (2, 4, 2, 3),
            (("minSpareServers", 20),): (5, 50, 20, 20),
            (("minSpareServers", 60),): (5, 60, 60, 60),
            (("maxSpareServers", 1),): (5, 50, 1, 1),
            (("maxSpareServers", 100),): (5, 50, 2, 100),
            (("maxServers", 3), ("minSpareServers", 3)): (3, 3, 3, 3),
        }
        for given, found in expected.items():
            self.assertEqual(sizes(PoolLimits(**dict(given))), found, given)

    def test_everyCombination(self) -> None:
        """
        Whatever is given stays as it is and the rest fits, or two of the given contradict each other: then both are
        named, with their values.
        """
        for values in product((None, 0, 1, 2, 3, 8, 60), repeat=4):
            given = {name: value for name, value in zip(SIZES, values, strict=True) if value is not None}
            contradictions = [
                (less, more)
                for less, more in (SIZES[:2], SIZES[2:], (SIZES[2], SIZES[1]))
                if less in given and more in given and given[less] > given[more]
            ]
            if contradictions:
                message = self.refusal(PoolLimits, **given)
                said = [[f"{optionName(name)} ({given[name]})" for name in pair] for pair in contradictions]
                self.assertTrue(any(less in message and more in message for less, more in said), message)
                continue
            limits = PoolLimits(**given)
            self.assertEqual({name: getattr(limits, name) for name in given}, given)
            least, most, spareLeast, spareMost = sizes(limits)
            self.assertTrue(0 <= least <= most and 0 <= spareLeast <= min(spareMost, most), (given, limits))

    def test_jitter(self) -> None:
        """The jitter of max-requests is a tenth of it, unless it is given."""
        for given, jitter in (({"maxRequests": 55}, 5), ({"maxRequests": 0}, 0), ({"maxRequestsJitter": 7}, 7)):
            self.assertEqual(PoolLimits(**given).maxRequestsJitter, jitter)

    def test_dequeue(self) -> None:
        """A dequeue callable and its interval need each other."""
        for dequeue, interval in (("mod.fn", 0.0), (None, 2.5)):
            message = self.refusal(Settings, dequeue=dequeue, limits=PoolLimits(checkForDequeue=interval))
            self.assertIn(f"dequeue ({dequeue}) and check-for-dequeue ({interval:g})", message)
        Settings(dequeue="mod.fn", limits=PoolLimits(checkForDequeue=2.5))

    def test_shared(self) -> None:
        """Frontend and backend cannot be one, unless both are to be free ports."""
        shared: list[dict[str, Any]] = [
            {"backend": 6660},
            {"frontend": ["6662", "6661"]},
            {"frontend": "ipc://x", "backend": "ipc://x"},
        ]
        for given in shared:
            self.assertIn("frontend and backend are both", self.refusal(Settings, **given))
        free: dict[str, Any] = {"frontend": "*", "backend": "*"}
        self.assertEqual(Settings(**free).backend, ("tcp://127.0.0.1:*",))


class NonsenseTests(Refusals):
    """Values that a setting cannot have."""

    def test_counts(self) -> None:
        """A count is a whole number, not negative."""
        for name in COUNTS:
            for value in (-1, 1.5, "5", None, True, float("nan"), [5]):
                self.assertRefused(name, value, PoolLimits, **{attribute(name): value})
            for text in ("1.5", "", "x", "0x10", "1e3", "nan", "9" * 5000):
                self.assertRefused(name, text, fromText, {name: text})
            self.assertRefused(name, -1, fromText, {name: "-1"})

    def test_seconds(self) -> None:
        """A time is a number that ends, not negative; those that would mean a busy loop or no chance are not 0."""
        for name in TIMES:
            for value in (-1, -0.1, "5", None, True, float("inf"), float("nan"), [5]):
                self.assertRefused(name, value, PoolLimits, **{attribute(name): value})
            for text in ("", "x", "1,5", "10s"):
                self.assertRefused(name, text, fromText, {name: text})
            for text in ("-1", "inf", "nan", "1e999"):
                self.assertRefused(name, float(text), fromText, {name: text})
        for name in ("check-for-waiting", "check-for-dead", "start-timeout"):
            self.assertRefused(name, 0, PoolLimits, **{attribute(name): 0})

    def test_level(self) -> None:
        """Net::Server's levels are 0 to 4."""
        for value in (-1, 5, 2.0, True, "2", None):
            self.assertRefused("log-level", value, Settings, logLevel=value)
        self.assertRefused("log-level", "debug", fromText, {"log-level": "debug"})

    def test_switches(self) -> None:
        """A switch is on or off."""
        for name in ("external-workers", "error-reply", "insecure"):
            for value in (1, 0, "yes", None):
                self.assertRefused(name, value, Settings, **{attribute(name): value})

    def test_paths(self) -> None:
        """An import path names a module and something in it."""
        for value in (
            "",
            "mod",
            "a b.c",
            "mod.",
            ".mod",
            "a..b",
            "a:b:c",
            ":fn",
            "mod:",
            "mod.fn()",
            "a/b.py",
            5,
        ):
            self.assertRefused("app", value, Settings, app=value)
            self.assertRefused("hooks", value, Settings, hooks=value)
        self.assertRefused("app", None, Settings, app=None)

    def test_pathHints(self) -> None:
        """The name of a file, or of a module alone, is refused with the import path that is probably meant."""
        for value, meant in (
            ("fibjob.py", "fibjob.FUNCTION"),
            ("./fibjob.py", "fibjob.FUNCTION"),
            ("jobs/fibjob.py", "jobs.fibjob.FUNCTION"),
            ("fibjob", "fibjob.FUNCTION"),
            ("fibjob.py:fib", "fibjob:fib"),
        ):
            error = self.assertRaises(ConfigurationError, Settings, app=value)
            self.assertTrue(str(error).endswith(f"; say {meant}"), str(error))
        error = self.assertRaises(ConfigurationError, Settings, hooks="own.py")
        self.assertTrue(str(error).endswith("; say own.CLASS"), str(error))
        for value in ("a b.py", "../fibjob.py", ""):
            self.assertNotIn("; say", str(self.assertRaises(ConfigurationError, Settings, app=value)))

    def test_endpoints(self) -> None:
        """An endpoint that is none, or no endpoint at all."""
        for name in ("frontend", "backend"):
            self.assertIn("'nonsense'", self.refusal(Settings, **{name: "nonsense"}))
            self.assertIn("'70000'", self.refusal(Settings, **{name: (1, 70000)}))
            self.assertIn("'70000'", self.refusal(fromText, {name: ["1", "70000"]}))
            message = self.refusal(Settings, **{name: ()})
            self.assertIn(f"{name}: at least one endpoint", message)

    def test_workers(self) -> None:
        """The message about the short form speaks of the short form."""
        for text in ("x", "", "1.5", "-1"):
            message = self.refusal(fromText, {"workers": text})
            self.assertTrue(message.startswith(f"workers is {text!r}, but must be a whole number"), message)


class PublicTests(Refusals):
    """Endpoints that other machines can reach."""

    def test_refused(self) -> None:
        """They are refused, by their name and with what to do about it."""
        for name in ("frontend", "backend"):
            for endpoint in ("*:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"):
                message = self.refusal(Settings, **{name: (1, endpoint)})
                self.assertIn(f"{name} tcp://{endpoint}", message)
                for way in ("--insecure", "--curve-secret", "--curve-clients"):
                    self.assertIn(way, message)

    def test_insecure(self) -> None:
        """Unless one says that one knows."""
        given: dict[str, Any] = {"frontend": "*:1", "backend": "[::]:2", "insecure": True}
        settings = Settings(**given)
        self.assertEqual((settings.frontend, settings.backend), (("tcp://*:1",), ("tcp://[::]:2",)))

    def test_keys(self) -> None:
        """Or unless one asks for keys, on both sockets then."""
        given: dict[str, Any] = {"frontend": "*:1", "backend": "[::]:2", "curveSecret": "/s", "curveClients": "/c"}
        settings = Settings(**given)
        self.assertTrue(settings.curveBackend)


class KeyTests(Refusals):
    """Settings about keys, which need each other."""

    def test_contradictions(self) -> None:
        """Each that lacks another is refused with its name, and so is what says the opposite."""
        secret: dict[str, Any] = {"curveSecret": "/s"}
        both: dict[str, Any] = {"curveSecret": "/s", "curveClients": "/c"}
        cases: list[tuple[dict[str, Any], str]] = [
            ({"curveClients": "/c"}, "curve-clients needs curve-secret"),
            ({"curveWorkers": "/w"}, "curve-workers needs curve-secret"),
            (secret, "curve-secret needs curve-clients"),
            ({**both, "curveSecret": "*"}, "curve-secret is '*', but must be the path of a file"),
            ({**both, "curveWorkers": "/w"}, "curve-workers needs external-workers"),
            ({**both, "externalWorkers": True}, "external-workers needs curve-workers"),
            ({**both, "externalWorkers": True, "curveWorkers": "*"}, "curve-workers is '*', but must name"),
            ({**both, "insecure": True}, "insecure contradicts curve-secret"),
        ]
        for given, words in cases:
            self.assertIn(words, self.refusal(Settings, **given))

    def test_paths(self) -> None:
        """A path is made whole; a credential and a star are what they are; what is no path is refused."""
        settings = Settings(curveSecret="credential:s", curveClients="*")
        self.assertEqual((settings.curveSecret, settings.curveClients), ("credential:s", "*"))
        path: Any = Path("s")
        settings = Settings(curveSecret=path, curveClients="c")
        self.assertEqual(
            (settings.curveSecret, settings.curveClients), (str(Path("s").absolute()), str(Path("c").absolute()))
        )
        for value in ("", "a\nb"):
            self.refusal(Settings, curveSecret=value, curveClients="*")

    def test_backend(self) -> None:
        """Workers need keys, but not our own on a UNIX socket, which is theirs alone."""
        curve: dict[str, Any] = {"curveSecret": "/s", "curveClients": "*"}
        external: dict[str, Any] = {"externalWorkers": True, "curveWorkers": "/w"}
        self.assertFalse(Settings().curveBackend)
        self.assertTrue(Settings(**curve).curveBackend)
        self.assertFalse(Settings(**curve, backend=("ipc:///b",)).curveBackend)
        self.assertTrue(Settings(**curve, backend=("ipc:///b", "1")).curveBackend)
        self.assertTrue(Settings(**curve, **external, backend=("ipc:///b",)).curveBackend)

    def test_networks(self) -> None:
        """Networks are checked at once, one or several, and the setting is named."""
        one: Any = "::ffff:192.0.2.0/120"
        settings = Settings(allow=one, deny=("192.0.2.7", "2001:db8::/32"))
        self.assertEqual((settings.allow, settings.deny), (("192.0.2.0/24",), ("192.0.2.7/32", "2001:db8::/32")))
        self.assertIn("allow 'localhost' must be an address", self.refusal(Settings, allow="localhost"))
        self.assertIn("deny '10.0.0.1/8' has bits beyond", self.refusal(Settings, deny=["10.0.0.1/8"]))
        self.assertIn("allow 'x'", self.refusal(fromText, {"allow": ["x"]}))


class TextTests(Refusals):
    """From a command line."""

    def test_everyOption(self) -> None:
        """Every option is understood."""
        texts: dict[str, Any] = {name: str(number) for number, name in enumerate(LIMITS, 11)}
        texts |= {"max-servers": "99", "max-spare-servers": "98", "check-for-dequeue": "2.5"}
        texts |= {"frontend": ["1", "[::1]:2"], "backend": ["ipc:///x"], "app": "a.b:c.d", "dequeue": "d.e"}
        texts |= {"hooks": "h.H", "external-workers": True, "error-reply": True, "insecure": True, "log-level": "4"}
        settings = fromText(texts)
        for name in LIMITS:
            self.assertEqual(getattr(settings.limits, attribute(name)), float(texts[name]))
        for name in ("app", "dequeue", "hooks", "external-workers", "error-reply", "insecure"):
            self.assertEqual(getattr(settings, attribute(name)), texts[name])
        self.assertEqual(settings.frontend, ("tcp://127.0.0.1:1", "tcp://[::1]:2"))
        self.assertEqual((settings.backend, settings.logLevel), (("ipc:///x",), 4))

    def test_workers(self) -> None:
        """``workers`` is the fewest and the most; the spares stay within."""
        for count, found in (("0", (0, 0, 0, 0)), ("1", (1, 1, 0, 0)), ("4", (4, 4, 2, 3)), ("60", (60, 60, 2, 10))):
            self.assertEqual(sizes(fromText({"workers": count}).limits), found)

    def test_workersAgain(self) -> None:
        """To say the same twice is no contradiction; to say two things is, and both are named."""
        self.assertEqual(sizes(fromText({"workers": "4", "min-servers": "4"}).limits)[:2], (4, 4))
        for name in ("min-servers", "max-servers"):
            message = self.refusal(fromText, {"workers": "4", name: "7"})
            self.assertIn("workers (4)", message)
            self.assertIn(f"{name} is 7", message)

    def test_contradiction(self) -> None:
        """Contradictions are found between texts too."""
        message = self.refusal(fromText, {"min-servers": "9", "max-servers": "7"})
        self.assertIn("min-servers (9) must not exceed max-servers (7)", message)

    def test_prefetch(self) -> None:
        """The credit of workers is measured, or a number that they may have."""
        self.assertEqual([fromText({"prefetch": text}).prefetch for text in ("auto", "1", "64")], [None, 1, 64])
        for text, value in (("0", 0), ("65", 65), ("x", "x"), ("", "")):
            self.assertRefused("prefetch", value, fromText, {"prefetch": text})


class SeveralTests(Refusals):
    """Workers that run several requests at once."""

    def test_bounds(self) -> None:
        """As many as ZeroMQ holds for one worker, and of the loops those that there are."""
        found = fromText({"concurrency": "1000", "loop": "twisted"})
        self.assertEqual((found.concurrency, found.loop), (1000, "twisted"))
        self.assertEqual(fromText({"threads": "1000"}).threads, 1000)
        for name, text, value in (
            ("concurrency", "0", 0),
            ("concurrency", "1001", 1001),
            ("threads", "-1", -1),
            ("threads", "1001", 1001),
            ("loop", "trio", "trio"),
        ):
            self.assertRefused(name, value, fromText, {name: text})

    def test_contradictions(self) -> None:
        """What cannot be had together is refused by the names and values of both."""
        for given in (
            {"threads": "4", "concurrency": "100"},
            {"threads": "4", "loop": "asyncio"},
            {"threads": "1", "job-soft-timeout": "2"},
            {"threads": "4", "prefetch": "8"},
            {"concurrency": "4", "prefetch": "8"},
        ):
            message = self.refusal(fromText, given)
            for name, text in given.items():
                self.assertIn(f"{name} ({text})", message)

    def test_together(self) -> None:
        """What says the same twice is fine."""
        fromText({"threads": "1", "prefetch": "1", "concurrency": "1", "loop": "auto"})
        fromText({"concurrency": "100", "job-soft-timeout": "2", "loop": "twisted"})


class ResizedTests(SynchronousTestCase):
    """One server more or fewer at run time."""

    def test_table(self) -> None:
        """Both numbers move together, never below 0 and 1; the spares stay within."""
        for before, by, after in (
            ((5, 50, 2, 10), 1, (6, 51, 2, 10)),
            ((5, 50, 2, 10), -1, (4, 49, 2, 10)),
            ((0, 50, 0, 10), -1, (0, 49, 0, 10)),
            ((3, 3, 2, 2), -1, (2, 2, 2, 2)),
            ((2, 2, 2, 2), -1, (1, 1, 1, 1)),
            ((1, 1, 1, 1), -1, (0, 1, 1, 1)),
            ((0, 1, 0, 0), -1, (0, 1, 0, 0)),
            ((0, 1, 0, 0), 1, (1, 2, 0, 0)),
            ((0, 0, 0, 0), 1, (1, 1, 0, 0)),
            ((5, 50, 2, 10), -100, (0, 1, 1, 1)),
        ):
            limits = PoolLimits(**dict(zip(SIZES, before, strict=True)))
            self.assertEqual(sizes(limits.resized(by)), after, (before, by))

    def test_noWorkersStayNone(self) -> None:
        """A broker that has no workers of its own does not get one by being asked for one fewer."""
        self.assertEqual(sizes(PoolLimits(minServers=0, maxServers=0).resized(-1)), (0, 0, 0, 0))

    def test_theRest(self) -> None:
        """Nothing else changes."""
        limits = PoolLimits(maxRequests=7, stopTimeout=3.5, checkForDead=1)
        found = limits.resized(1)
        for name in [name for name in LIMITS if not name.endswith("-servers")]:
            self.assertEqual(getattr(found, attribute(name)), getattr(limits, attribute(name)))


class BoundsTests(SynchronousTestCase):
    """What peers may send."""

    def test_texts(self) -> None:
        """Each is an option of the command line."""
        given = fromText({"max-message-size": "0.5", "rate": "20", "max-connections": "7", "heartbeat": "0"}).peerLimits
        self.assertEqual((given.maxMessageSize, given.rate, given.maxConnections, given.heartbeat), (0.5, 20, 7, 0))

    def test_burst(self) -> None:
        """A burst that is not given is what the rate brings in a second, and at least one."""
        self.assertEqual([PeerLimits(rate=rate).burst for rate in (0, 0.2, 2.4, 50)], [1, 1, 2, 50])
        self.assertEqual(PeerLimits(rate=50, burst=3).burst, 3)

    def test_needsRate(self) -> None:
        """A burst means nothing without a rate."""
        error = self.assertRaises(ConfigurationError, PeerLimits, burst=5)
        self.assertEqual(str(error), "burst (5) needs a rate, which is 0")

    def test_nonsense(self) -> None:
        """What is no bound at all is refused by name."""
        for name, value in (
            ("max-message-size", "0"),
            ("max-message-size", "0.0009"),
            ("max-message-size", "1e7"),
            ("max-message-frames", "0"),
            ("max-message-total", "-1"),
            ("max-connections", "many"),
            ("client-requests", "1.5"),
            ("rate", "nan"),
            ("handshake-timeout", "0"),
            ("handshake-timeout", "1e7"),
            ("heartbeat", "inf"),
            ("heartbeat", "1e7"),
        ):
            error = self.assertRaises(ConfigurationError, fromText, {name: value})
            self.assertIn(f"{name} is ", str(error))


class ArgumentTests(SynchronousTestCase):
    """The types of the keyword arguments, against the table."""

    #: The arguments that take more forms than the field has, after ``Settings`` has read them.
    WIDER = {"frontend", "backend", "app", "dequeue", "allow", "deny"}

    def test_settings(self) -> None:
        """Each setting but the hooks is a typed argument, of the field's own type unless it takes more forms."""
        fields, arguments = get_type_hints(Settings), get_type_hints(SettingsArguments)
        self.assertEqual(arguments.keys(), fields.keys() - {"hooks"})
        self.assertEqual({name for name in arguments if arguments[name] != fields[name]}, self.WIDER)

    def test_changes(self) -> None:
        """What can change at run time is typed: all of the pool's limits, the log's level, the dequeue callable."""
        changes = get_type_hints(LimitChanges)
        expected = {
            **get_type_hints(PoolLimits),
            "workers": int,
            **{name: get_type_hints(SettingsArguments)[name] for name in ("dequeue", "logLevel")},
        }
        self.assertEqual(changes, expected)


class CallableTests(Refusals):
    """An app or a dequeue callable given as an object."""

    def nested(self) -> None:
        """Serve as a method, which a class defines."""

    def test_importable(self) -> None:
        """A function or class that a module defines becomes its import path."""
        arguments: dict[str, Any] = {"app": echo}
        self.assertEqual(Settings(**arguments).app, "pirate.echo:echo")
        arguments = {"dequeue": CallableTests, "limits": PoolLimits(checkForDequeue=1)}
        self.assertEqual(Settings(**arguments).dequeue, f"{__name__}:CallableTests")
        arguments = {"app": CallableTests.nested}
        self.assertEqual(Settings(**arguments).app, f"{__name__}:CallableTests.nested")

    def test_notImportable(self) -> None:
        """Anything that a worker could not import under a name is refused in one line."""

        def local() -> None:
            """Serve as a function that no module defines."""

        shadow = partial(echo)
        fake = FunctionType(echo.__code__, {}, "echo")
        fake.__module__ = echo.__module__
        for target in (local, lambda request: request, self.nested, shadow, fake, b"".join):
            error = self.assertRaises(ConfigurationError, Settings, app=target)
            self.assertIn("app is ", str(error))
            self.assertIn("must be an import path, or a function or class that a module defines by name", str(error))

    def test_main(self) -> None:
        """A function of the main program is refused, and the line says what to do."""

        def app() -> None:
            """Serve as a function of the main program."""

        app.__module__, app.__qualname__ = "__main__", "app"
        error = self.assertRaises(ConfigurationError, Settings, dequeue=app)
        self.assertEqual(
            str(error),
            "dequeue is app, which the main program defines, but workers cannot import that: move it to a module",
        )
