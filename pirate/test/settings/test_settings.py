# -*- test-case-name: pirate.test.settings.test_settings -*-
"""Tests of the settings: defaults, contradictions, invalid values, and parsing of options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, get_type_hints

from twisted.trial.unittest import SynchronousTestCase

from pirate.echo import echo
from pirate.errors import ConfigurationError
from pirate.settings.limits import PoolLimits
from pirate.settings.settings import RuntimeChanges, Settings, SettingsArguments, fromText
from pirate.settings.table import optionName, table
from pirate.test.support.settings import COUNTS, LIMITS, SETTINGS, TIMES, SettingsCase, attribute, sizes


class DefaultTests(SynchronousTestCase):
    """The defaults."""

    def test_limits(self) -> None:
        """The defaults of the pool's limits are those of Net::Server::PreFork."""
        limits = PoolLimits()
        self.assertEqual({name: getattr(limits, attribute(name)) for name in LIMITS}, LIMITS)

    def test_settings(self) -> None:
        """The other defaults are safe: loopback, no external workers, no error replies to plain clients."""
        settings = Settings()
        self.assertEqual({name: getattr(settings, attribute(name)) for name in SETTINGS}, SETTINGS)
        self.assertEqual(settings.limits, PoolLimits())

    def test_commandLine(self) -> None:
        """An empty command line gives the defaults."""
        self.assertEqual(fromText({}), Settings())

    def test_table(self) -> None:
        """The table has each setting once, with its option, its default and its help, which is one sentence."""
        for owner, expected in ((PoolLimits, LIMITS), (Settings, SETTINGS)):
            rows = {row.name: row for row in table(owner)}
            self.assertEqual({name: rows[name].default for name in expected}, expected)
            self.assertEqual(len(rows), len(list(table(owner))))
            for row in rows.values():
                self.assertEqual(optionName(row.attribute), row.name)
                self.assertTrue(row.type.words)
                self.assertRegex(row.help, r"^[A-Z][^.]+( pirate\.hooks\.Hooks,[^.]+)?\.$")

    def test_frozen(self) -> None:
        """Settings are immutable, so that they cannot change without a check."""
        for values in (PoolLimits(), Settings()):
            self.assertRaises(AttributeError, setattr, values, next(iter(table(type(values)))).attribute, 1)


class ContradictionTests(SettingsCase):
    """Settings of different groups that contradict each other."""

    def test_dequeue(self) -> None:
        """A dequeue callable and its interval need each other."""
        for dequeue, interval in (("mod.fn", 0.0), (None, 2.5)):
            message = self.refusal(Settings, dequeue=dequeue, limits=PoolLimits(checkForDequeue=interval))
            self.assertIn(f"dequeue ({dequeue}) and check-for-dequeue ({interval:g})", message)
        Settings(dequeue="mod.fn", limits=PoolLimits(checkForDequeue=2.5))

    def test_shared(self) -> None:
        """Frontend and backend cannot share an endpoint, unless both take a free port."""
        shared: list[dict[str, Any]] = [
            {"backend": 6660},
            {"frontend": ["6662", "6661"]},
            {"frontend": "ipc://x", "backend": "ipc://x"},
        ]
        for given in shared:
            self.assertIn("frontend and backend are both", self.refusal(Settings, **given))
        free: dict[str, Any] = {"frontend": "*", "backend": "*"}
        self.assertEqual(Settings(**free).backend, ("tcp://127.0.0.1:*",))


class InvalidValueTests(SettingsCase):
    """Invalid values."""

    def test_counts(self) -> None:
        """A count must be a whole number, 0 or more."""
        for name in COUNTS:
            for value in (-1, 1.5, "5", None, True, float("nan"), [5]):
                self.assertRefused(name, value, PoolLimits, **{attribute(name): value})
            for text in ("1.5", "", "x", "0x10", "1e3", "nan", "9" * 5000):
                self.assertRefused(name, text, fromText, {name: text})
            self.assertRefused(name, -1, fromText, {name: "-1"})

    def test_seconds(self) -> None:
        """A time must be a finite number, 0 or more; more than 0 where 0 would mean a busy loop or no time at all."""
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
        """The log level must be 0 to 4, as in Net::Server."""
        for value in (-1, 5, 2.0, True, "2", None):
            self.assertRefused("log-level", value, Settings, logLevel=value)
        self.assertRefused("log-level", "debug", fromText, {"log-level": "debug"})

    def test_switches(self) -> None:
        """A switch must be true or false."""
        for name in ("external-workers", "error-reply", "insecure"):
            for value in (1, 0, "yes", None):
                self.assertRefused(name, value, Settings, **{attribute(name): value})

    def test_paths(self) -> None:
        """An import path must name a module and an object in it."""
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
        """The name of a file, or of a module alone, is refused with a suggestion."""
        for value, meant in (
            ("fibjob.py", "fibjob.FUNCTION"),
            ("./fibjob.py", "fibjob.FUNCTION"),
            ("jobs/fibjob.py", "jobs.fibjob.FUNCTION"),
            ("fibjob", "fibjob.FUNCTION"),
            ("fibjob.py:fib", "fibjob:fib"),
        ):
            error = self.assertRaises(ConfigurationError, Settings, app=value)
            self.assertTrue(str(error).endswith(f"; did you mean {meant}?"), str(error))
        error = self.assertRaises(ConfigurationError, Settings, hooks="own.py")
        self.assertTrue(str(error).endswith("; did you mean own.CLASS?"), str(error))
        for value in ("a b.py", "../fibjob.py", ""):
            self.assertNotIn("; did you mean", str(self.assertRaises(ConfigurationError, Settings, app=value)))

    def test_endpoints(self) -> None:
        """An invalid endpoint is refused, and so is an empty list."""
        for name in ("frontend", "backend"):
            self.assertIn("'nonsense'", self.refusal(Settings, **{name: "nonsense"}))
            self.assertIn("'70000'", self.refusal(Settings, **{name: (1, 70000)}))
            self.assertIn("'70000'", self.refusal(fromText, {name: ["1", "70000"]}))
            message = self.refusal(Settings, **{name: ()})
            self.assertIn(f"{name} needs at least one endpoint", message)

    def test_workers(self) -> None:
        """The message about an invalid ``workers`` names that option, not those that it stands for."""
        for text in ("x", "", "1.5", "-1"):
            message = self.refusal(fromText, {"workers": text})
            self.assertTrue(message.startswith(f"workers is {text!r}, but must be a whole number"), message)


class PublicTests(SettingsCase):
    """Endpoints that other machines can reach."""

    def test_refused(self) -> None:
        """A public endpoint is refused with its name and the options that permit it."""
        for name in ("frontend", "backend"):
            for endpoint in ("*:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"):
                message = self.refusal(Settings, **{name: (1, endpoint)})
                self.assertIn(f"{name} tcp://{endpoint}", message)
                for way in ("--insecure", "--curve-secret", "--curve-clients"):
                    self.assertIn(way, message)

    def test_insecure(self) -> None:
        """``insecure`` permits public endpoints."""
        given: dict[str, Any] = {"frontend": "*:1", "backend": "[::]:2", "insecure": True}
        settings = Settings(**given)
        self.assertEqual((settings.frontend, settings.backend), (("tcp://*:1",), ("tcp://[::]:2",)))

    def test_keys(self) -> None:
        """Keys permit public endpoints; both sockets then require them."""
        given: dict[str, Any] = {"frontend": "*:1", "backend": "[::]:2", "curveSecret": "/s", "curveClients": "/c"}
        settings = Settings(**given)
        self.assertTrue(settings.curveBackend)


class KeyTests(SettingsCase):
    """The settings that control access."""

    def test_contradictions(self) -> None:
        """Settings that need another one are refused without it, and so are settings that contradict each other."""
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
        """A path becomes absolute; a credential and ``*`` stay; an invalid path is refused."""
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
        """Workers need keys, except children on a UNIX socket."""
        curve: dict[str, Any] = {"curveSecret": "/s", "curveClients": "*"}
        external: dict[str, Any] = {"externalWorkers": True, "curveWorkers": "/w"}
        self.assertFalse(Settings().curveBackend)
        self.assertTrue(Settings(**curve).curveBackend)
        self.assertFalse(Settings(**curve, backend=("ipc:///b",)).curveBackend)
        self.assertTrue(Settings(**curve, backend=("ipc:///b", "1")).curveBackend)
        self.assertTrue(Settings(**curve, **external, backend=("ipc:///b",)).curveBackend)

    def test_networks(self) -> None:
        """One or several networks are checked, and a message names the setting."""
        one: Any = "::ffff:192.0.2.0/120"
        settings = Settings(allow=one, deny=("192.0.2.7", "2001:db8::/32"))
        self.assertEqual((settings.allow, settings.deny), (("192.0.2.0/24",), ("192.0.2.7/32", "2001:db8::/32")))
        self.assertIn("allow 'localhost' must be an address", self.refusal(Settings, allow="localhost"))
        self.assertIn("deny '10.0.0.1/8' has bits beyond", self.refusal(Settings, deny=["10.0.0.1/8"]))
        self.assertIn("allow 'x'", self.refusal(fromText, {"allow": ["x"]}))


class TextTests(SettingsCase):
    """Options of a command line."""

    def test_everyOption(self) -> None:
        """Every option sets its setting."""
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
        """``workers`` sets both limits, and the numbers of spare servers adjust."""
        for count, found in (("0", (0, 0, 0, 0)), ("1", (1, 1, 0, 0)), ("4", (4, 4, 2, 3)), ("60", (60, 60, 2, 10))):
            self.assertEqual(sizes(fromText({"workers": count}).limits), found)

    def test_workersAgain(self) -> None:
        """``workers`` may repeat a limit, but not contradict it."""
        self.assertEqual(sizes(fromText({"workers": "4", "min-servers": "4"}).limits)[:2], (4, 4))
        for name in ("min-servers", "max-servers"):
            message = self.refusal(fromText, {"workers": "4", name: "7"})
            self.assertIn("workers (4)", message)
            self.assertIn(f"{name} is 7", message)

    def test_contradiction(self) -> None:
        """Options that contradict each other are refused."""
        message = self.refusal(fromText, {"min-servers": "9", "max-servers": "7"})
        self.assertIn("min-servers (9) must not exceed max-servers (7)", message)

    def test_prefetch(self) -> None:
        """``prefetch`` is ``auto``, or a number within the limit."""
        self.assertEqual([fromText({"prefetch": text}).prefetch for text in ("auto", "1", "64")], [None, 1, 64])
        for text, value in (("0", 0), ("65", 65), ("x", "x"), ("", "")):
            self.assertRefused("prefetch", value, fromText, {"prefetch": text})

    def test_prefetchInPython(self) -> None:
        """In Python too, ``auto`` is the default."""
        self.assertEqual(Settings(prefetch="auto"), Settings())
        Settings(prefetch="auto", threads=4)


class SeveralTests(SettingsCase):
    """Settings of workers that run several requests at a time."""

    def test_range(self) -> None:
        """Concurrency and threads have a maximum, and there are three loops."""
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
        """Settings that exclude each other are refused with both names and values."""
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
        """Settings that agree are accepted together."""
        fromText({"threads": "1", "prefetch": "1", "concurrency": "1", "loop": "auto"})
        fromText({"concurrency": "100", "job-soft-timeout": "2", "loop": "twisted"})


class ArgumentTests(SynchronousTestCase):
    """The types of the keyword arguments, against the table."""

    #: The arguments that take more forms than the field has, after ``Settings`` has read them.
    WIDER = {"frontend", "backend", "app", "prefetch", "dequeue", "allow", "deny"}

    def test_settings(self) -> None:
        """Each setting but the hooks is a typed argument, of the field's own type unless it takes more forms."""
        fields, arguments = get_type_hints(Settings), get_type_hints(SettingsArguments)
        self.assertEqual(arguments.keys(), fields.keys() - {"hooks"})
        self.assertEqual({name for name in arguments if arguments[name] != fields[name]}, self.WIDER)

    def test_changes(self) -> None:
        """The settings that can change at run time are typed: pool limits, log level and dequeue callable."""
        changes = get_type_hints(RuntimeChanges)
        expected = {
            **get_type_hints(PoolLimits),
            "workers": int,
            **{name: get_type_hints(SettingsArguments)[name] for name in ("dequeue", "logLevel")},
        }
        self.assertEqual(changes, expected)


class CallableTests(SettingsCase):
    """An app or a dequeue callable given as an object."""

    def nested(self) -> None:
        """Serve as a method, which a class defines."""

    def test_importable(self) -> None:
        """A function or class that a module defines becomes its import path."""
        self.assertEqual(Settings(app=echo).app, "pirate.echo:echo")
        settings = Settings(dequeue=CallableTests, limits=PoolLimits(checkForDequeue=1))
        self.assertEqual(settings.dequeue, f"{__name__}:CallableTests")
        self.assertEqual(Settings(app=CallableTests.nested).app, f"{__name__}:CallableTests.nested")

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
