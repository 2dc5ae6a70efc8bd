# -*- test-case-name: pirate.test.test_import_table -*-
"""
Who may know whom: the rooms of the design, held against the source and against what is really loaded.

The table below is written by hand on purpose.  A new arrow between two modules, or a new module, has to be put down
here by somebody who has thought about it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import pirate

PACKAGE = Path(pirate.__file__).resolve().parent

#: What each module may import when it is imported itself: modules of pirate, where ``.`` is the package and the name of
#: a package stands for all in it, and packages of others.  The standard library is free, but for the pure ones.
ALLOWED = {
    "": "",
    "errors": "",
    # The wire.
    "wire": "",
    "wire.words": "",
    "wire.foreign": "wire.words",
    "wire.frontend": "wire.words",
    "wire.backend": "wire.words",
    # Who gets which request.
    "tally": "wire.words",
    "memory": "tally wire.words",
    "answers": "memory tally wire",
    "services": "wire.frontend",
    "throttle": "",
    "timetable": "limits services wire.frontend",
    "ledger": "answers limits services tally timetable wire",
    "dispatch": "answers ledger limits services tally wire",
    "broker": "answers dispatch limits memory services tally throttle wire",
    "waiting": "wire.frontend",
    "quota": "",
    "gate": "hooks limits quota waiting wire.frontend wire.words",
    # How many workers live.
    "endpoints": "errors",
    "addresses": "access errors",
    "access": "",
    "kinds": "endpoints wire.words",
    "rows": "errors kinds",
    "limits": "errors kinds rows",
    "settings": "access addresses endpoints errors kinds limits rows",
    "child": "",
    "backoff": "child",
    "spares": "child limits",
    "reloading": "child spares",
    "recycling": "child limits",
    "pool": "backoff child limits recycling reloading spares",
    # The child's program.
    "credit": "wire.words",
    "imports": "errors wire.words",
    "echo": "",
    "app": "",
    "startup": "errors",
    "execution": "app credit errors imports wire.words",
    "worker": "app credit duty errors execution imports startup wire.backend wire.words zmq",
    # The same for several requests at once.
    "hand": "wire.words",
    "line": "zmq",
    "duty": "wire.words",
    "loopline": "line",
    "awaiting": "app duty execution hand wire.words",
    "tasks": "awaiting duty hand line loopline",
    "deferreds": "awaiting duty hand line loopline twisted",
    "threads": "app duty execution hand line wire.words zmq",
    # The edges.
    "logs": "twisted zope",
    "errorlog": "twisted wire.frontend",
    "output": "errors logs twisted",
    "process": "child errors output startup twisted",
    "binding": "errors zmq",
    "chance": "",
    "discard": "zmq",
    "router": "admission discard txzmq zmq",
    "monitor": "txzmq zmq",
    "outbox": "router twisted",
    "transport": "admission binding chance descriptors errors limits monitor outbox router twisted txzmq waiting zap"
    " zmq",
    "member": "child process twisted wire.backend",
    "supervisor": "broker child logs member output pool process twisted wire.backend wire.words",
    "connections": "broker supervisor twisted",
    "exchange": ". broker connections errorlog gate logs member supervisor twisted waiting wire",
    "run": "broker child connections descriptors endpoints exchange gate guard hooks logs pool settings supervisor"
    " twisted wire",
    "hooks": "",
    "service": "errors guard hooks imports logs process run settings twisted",
    "signals": "errors service twisted",
    "descriptors": "errors limits",
    "launch": "twisted",
    "preflight": "errors",
    "daemon": "descriptors endpoints errors hooks imports launch run service settings signals startup twisted",
    "tap": ". errors kinds preflight settings twisted",
    # Who gets in.
    "keys": "errors",
    "keygen": ". errors keys",
    "keyring": "errors keys twisted",
    "admission": "access addresses",
    "guard": "access addresses admission errors keyring keys logs settings twisted",
    "zap": "twisted txzmq zmq",
    # The client.
    "client.errors": "errors wire.words",
    "client.sizes": "wire.words",
    "client.outage": "wire.words",
    "client.call": "client.errors wire",
    "client.route": "client.call client.sizes wire.words",
    "client.schedule": "client.call",
    "client.routes": "client.call client.route",
    "client.health": "client.call client.route client.routes wire.frontend",
    "client.session": "client.call client.errors client.health client.outage client.route client.routes "
    "client.schedule client.sizes wire",
    "client.arguments": "errors wire.words",
    "client.codecs": "client.arguments errors",
    "client.link": "client.session errors wire.words zmq",
    "client.terms": "client.arguments client.call client.codecs client.link client.outage errors",
    "client.given": "client.call client.codecs client.outage client.terms",
    "client.arrivals": "",
    "client.watch": "",
    "client.lead": "client.arrivals client.call client.link client.outage client.session client.terms client.watch",
    "client.pong": "client.call client.errors wire.words",
    "client.batch": "client.arrivals client.call client.errors client.lead client.terms errors",
    "client.stream": "client.arrivals client.call client.lead client.terms",
    "client.futures": "client.call client.lead client.terms",
    "client.blocking": "client errors",
    "client.pump": "client",
    "client.deferreds": "client twisted zope",
    "client.asyncstream": "client.call client.pump client.stream client.terms",
    "client.coroutines": "client",
    "client.pickles": "pickled",
    "client.executor": "client errors",
    "pickled": "",
    "client": "client",
    "client.exits": "client.errors errors",
    "client.commandline": "client.arguments client.batch client.exits errors",
    "client.completion": "",
    "client.streams": "errors",
    "client.report": "client.errors client.exits",
    "client.progress": "",
    "client.command": ". client errors zmq",
    # The public fakes.
    "fakeprocess": "twisted",
    "faketransport": "errors twisted",
    "stage": "errors fakeprocess faketransport wire",
    # An app, and a real server, in a test.
    "rehearsal": "app client.errors credit execution memory tasks wire",
    "harness": "app client.arguments imports rehearsal wire.frontend",
    "serving": "errors settings",
    "servermixin": "service settings",
    "pytestplugin": "pytest serving",
    "testing": "",
    "zmtp": "",
}

#: The modules without sockets, processes, files, threads and clocks, and all of the standard library that they need.
PURE = (
    "wire wire.words wire.foreign wire.frontend wire.backend tally memory answers services throttle timetable ledger "
    "dispatch "
    "broker waiting quota gate hooks endpoints addresses access admission kinds rows limits settings child backoff "
    "reloading recycling spares pool credit hand"
)
#: Modules that may know how to do what nothing from the wire may lead to.
DANGEROUS_ON_PURPOSE = {"serving": {"subprocess"}, "client.pickles": {"pickle"}, "pickled": {"pickle"}}
#: The same of the client; only their package, which a client has anyway, loads ZeroMQ.
PURE_CLIENT = (
    "client.errors client.call client.route client.routes client.health client.schedule "
    "client.sizes client.outage client.session"
)
PURE_LIBRARY = {
    "collections",
    "dataclasses",
    "enum",
    "heapq",
    "itertools",
    "ipaddress",
    "json",
    "pathlib",
    "random",
    "re",
    "struct",
    "typing",
}


@cache
def sources() -> dict[str, Path]:
    """Every module of the package but the tests, by its name in the table."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "test":
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def importsAtOnce(node: ast.AST) -> Iterator[str]:
    """What is imported when a module is: not in its functions, nor for the type checker alone."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(each, ast.If) and isinstance(each.test, ast.Name) and each.test.id == "TYPE_CHECKING":
            continue
        yield from named(each)
        yield from importsAtOnce(each)


def named(node: ast.AST) -> list[str]:
    """The modules that an import statement names, in full; of ``from x import y`` it is ``x.y`` if that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        assert not node.level, "relative imports are not used here"
        modules = (
            {f"pirate.{name}" if name else "pirate" for name in sources()} if module.startswith("pirate") else set()
        )
        return [full if (full := f"{module}.{alias.name}") in modules else module for alias in node.names]
    return []


@cache
def parsed(name: str) -> ast.Module:
    """The source of a module."""
    return ast.parse(sources()[name].read_text(encoding="utf-8"))


def arrows(name: str) -> set[str]:
    """The modules of pirate, by their names in the table, that a module imports at once."""
    full = {each for each in importsAtOnce(parsed(name)) if each.partition(".")[0] == "pirate"}
    return {each.removeprefix("pirate").removeprefix(".") for each in full}


class SourceTests(SynchronousTestCase):
    """The table against the source."""

    def test_everyModule(self) -> None:
        """The table has every module, and no other."""
        self.assertEqual(set(ALLOWED), set(sources()))

    def test_arrows(self) -> None:
        """No module imports one that the table does not allow it."""
        for name, allowed in ALLOWED.items():
            for arrow in arrows(name):
                rooms = [arrow or ".", arrow.partition(".")[0] or "."]
                self.assertTrue(set(rooms) & set(allowed.split()), f"{name} imports {arrow or 'pirate'}")

    def test_others(self) -> None:
        """No module imports a package of others that the table does not allow it."""
        for name, allowed in ALLOWED.items():
            packages = {each.partition(".")[0] for each in importsAtOnce(parsed(name))}
            strange = packages - sys.stdlib_module_names - {"pirate"} - set(allowed.split())
            self.assertEqual(strange, set(), name)

    def test_noCircle(self) -> None:
        """The arrows all lead one way."""
        graph = {name: arrows(name) - {name} for name in ALLOWED}
        TopologicalSorter(graph).prepare()

    def test_noReactor(self) -> None:
        """The reactor is an argument: nobody imports it at once; and txZMQ, which does, only the transport."""
        for name in ALLOWED:
            found = set(importsAtOnce(parsed(name)))
            self.assertNotIn("twisted.internet.reactor", found, name)
            self.assertFalse("txzmq" in found and name not in ("transport", "router", "monitor", "zap"), name)

    def test_pure(self) -> None:
        """What is pure has no clock, no file, no thread and no process of its own, not even inside its functions."""
        for name in f"{PURE} {PURE_CLIENT}".split():
            everything = {each.partition(".")[0] for node in ast.walk(parsed(name)) for each in named(node)}
            self.assertLessEqual(everything - {"pirate", "__future__"}, PURE_LIBRARY, name)

    def test_harmless(self) -> None:
        """Nothing that comes over the wire can be unpickled, evaluated, or run by a shell: nobody knows how."""
        dangerous = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "subprocess", "code", "codeop"}
        builtin, methods = {"eval", "exec", "compile"}, {"eval", "exec", "system", "popen"}
        for name, path in sources().items():
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = [getattr(node, "module", None) or "", *(each.name for each in node.names)]
                    found = dangerous & {each.partition(".")[0] for each in names}
                    self.assertLessEqual(found, DANGEROUS_ON_PURPOSE.get(name, set()), name)
                elif isinstance(node, ast.Call):
                    self.assertNotIn(getattr(node.func, "id", ""), builtin, name)
                    self.assertNotIn(getattr(node.func, "attr", ""), methods, name)

    def test_pureHidesNothing(self) -> None:
        """What is pure imports nothing later that it does not import at once, but for the type checker."""
        for name in PURE.split():
            for node in ast.walk(parsed(name)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    self.assertEqual([named(each) for each in ast.walk(node) if named(each)], [], name)


#: Imports modules one after the other, and prints the first one that loads what it must not, and what that is.
PROBE = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
    found = [each for each in sys.argv[1].split() if any(f"{module}.".startswith(f"{each}.") for module in sys.modules)]
    if found:
        sys.exit(f"{name} loads {found}")
"""

#: Runs twistd, and prints what of the modules that it must not load is loaded.
TWISTD = """
import sys
from twisted.scripts.twistd import run
forbidden, sys.argv = sys.argv[1].split(), ["twistd", *sys.argv[2:]]
try:
    run()
except SystemExit as ended:
    assert not ended.code, ended.code
found = [each for each in forbidden if any(f"{module}.".startswith(f"{each}.") for module in sys.modules)]
if found:
    sys.exit(f"{sys.argv} loads {found}")
"""


class LoadTests(SynchronousTestCase):
    """What is really loaded, each time in a fresh interpreter."""

    def interpreter(self, program: str, forbidden: str, *arguments: str) -> str:
        """
        Run a program.

        :return: what it prints.
        """
        path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-c", program, forbidden, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def assertLight(self, forbidden: str, names: str) -> None:
        """To import modules, in this order, loads nothing of what is forbidden."""
        self.interpreter(PROBE, forbidden, *(f"pirate.{name}" for name in names.split()))

    def test_probe(self) -> None:
        """A module that loads what it must not is found, so the tests below mean something."""
        error = self.assertRaises(self.failureException, self.assertLight, "zmq", "errors binding tally")
        self.assertIn("pirate.transport.binding loads ['zmq']", str(error))

    def test_cores(self) -> None:
        """The wire and both cores know of no library at all."""
        self.assertLight("zmq twisted txzmq zope", f"errors {PURE}")

    def test_worker(self) -> None:
        """The child's program starts without Twisted, and without what is slow in the standard library."""
        self.assertLight("twisted txzmq zope logging dataclasses inspect asyncio", "imports echo credit worker")

    def test_client(self) -> None:
        """So does the client."""
        self.assertLight("twisted txzmq zope logging asyncio", "client client.command")

    def test_testing(self) -> None:
        """Who tests an app, or starts a server for a test, needs no Twisted."""
        self.assertLight("twisted txzmq zope", "testing harness serving")

    def test_commandLine(self) -> None:
        """The command line needs no server."""
        self.assertLight(
            "twisted.internet.reactor txzmq zmq pirate.service pirate.broker.broker pirate.pool.pool", "tap"
        )

    def test_edges(self) -> None:
        """A server can be made, and a process can become a daemon, before there is a reactor or a ZeroMQ."""
        names = "hooks logs process supervisor exchange run service signals daemon tap"
        self.assertLight("twisted.internet.reactor txzmq zmq", names)

    def test_plugin(self) -> None:
        """The plugin is four strings: it loads nothing of ours."""
        self.interpreter(PROBE, "pirate zmq txzmq twisted.internet.reactor", "twisted.plugins.pirate_plugin")

    def test_twistdHelp(self) -> None:
        """Nobody pays for this plugin in ``twistd --help``, which lists it."""
        shown = self.interpreter(TWISTD, "pirate zmq txzmq twisted.internet.reactor", "--help")
        self.assertRegex(shown, r"\n +pirate +Preforking")

    def test_pirateHelp(self) -> None:
        """Nor does ``twistd pirate --help`` load more than the command line."""
        forbidden = "zmq txzmq twisted.internet.reactor pirate.service"
        shown = self.interpreter(TWISTD, forbidden, "pirate", "--help")
        for option in ("--frontend", "--min-servers", "--workers"):
            self.assertIn(option, shown)
