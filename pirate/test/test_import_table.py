# -*- test-case-name: pirate.test.test_import_table -*-
"""
Compare the package's imports with a table of its rooms: in the source, and in fresh interpreters.

The tables are written by hand on purpose: a new room, or a new arrow between two rooms, is a decision.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import pirate
from pirate.test.support.program import environmentWith

PACKAGE = Path(pirate.__file__).resolve().parent

#: What each room and each module of the public face imports at import time: rooms, and single modules of rooms.  A room
#: may always import its own modules; ``.`` is the package itself, for its version.
ROOMS = {
    # The public face.
    ".": "",
    "errors": "",
    "echo": "",
    "pickled": "",
    "app": "worker.app",
    "hooks": "broker.request pool.child",
    "service": "errors settings auth.policy server hooks transport.interfaces",
    "tap": ". errors settings twistd.preflight",
    "pytestplugin": "testing.serverprocess",
    # The rooms.
    "wire": "",
    "settings": "errors wire.words",
    "broker": "wire settings.limits",
    "pool": "settings.limits",
    "auth": "errors settings",
    "transport": "errors wire settings.limits auth.rules broker.interfaces",
    "server": ". errors wire settings broker pool auth.policy transport.interfaces hooks worker.imports worker.startup",
    "twistd": "errors settings server.descriptors hooks service worker.imports worker.startup",
    "worker": "errors wire",
    "client": "errors wire pickled",
    "commands": ". errors auth client",
    "testing": "errors wire settings broker pool auth.rules transport.interfaces transport.turns"
    " server.interfaces server.logs server.environment server.running worker client service hooks",
}
#: What each imports besides in its functions, when it is needed, or for the type checker alone.
LATER = {
    "pickled": "worker.app",
    "hooks": "service",
    "service": "transport.sockets client.codecs",
    "tap": "auth.policy server.logs twistd",
    "server": "client.codecs client.errors service",
    "client": "auth.keys",
}
#: The third-party packages that each imports at import time, by room; and by module, what that one adds to its room's.
#: The standard library is free, except for the pure rooms.
OTHERS = {
    "service": "twisted",
    "tap": "twisted",
    "pytestplugin": "pytest",
    "auth": "twisted",
    "transport": "twisted txzmq zmq zope",
    "server": "twisted zope",
    "twistd": "twisted",
    "worker": "zmq",
    "worker.twistedrunner": "twisted zope",
    "client": "zmq",
    "client.twistedclient": "twisted zope",
    "commands": "zmq",
    "testing": "twisted zope",
    "testing.world.sockets": "zmq",
}
#: The rooms without sockets, processes, files, threads and clocks, and the standard modules that they import.
PURE = ("wire", "settings", "broker", "pool")
PURE_LIBRARY = (
    "collections dataclasses enum functools heapq ipaddress itertools json pathlib random re struct sys typing"
)
#: The packages whose ``__init__`` imports something: the public faces.
FACES = {"settings", "client", "testing"}
#: The modules that import a dangerous one, because no message leads there unless the user has chosen it.
DANGEROUS_ON_PURPOSE = {"testing.serverprocess": {"subprocess"}, "client.pickles": {"pickle"}, "pickled": {"pickle"}}


@cache
def sources() -> dict[str, Path]:
    """Return every module of the package but the tests, by its name without ``pirate.``; ``.`` is the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "test":
            found[".".join(part for part in parts if part != "__init__") or "."] = path
    return found


def roomOf(module: str) -> str:
    """Return the room of a module, or the module itself if it belongs to the face; the first part of any other name."""
    return module if module == "." else module.partition(".")[0]


def rooms() -> list[str]:
    """Return the rooms of the table, without the modules of the public face."""
    return [room for room in ROOMS if room != "." and sources()[room].name == "__init__.py"]


@cache
def fullNames() -> frozenset[str]:
    """Return the full names of the modules of the package."""
    return frozenset(f"pirate.{name}" for name in sources())


@cache
def parsed(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def named(node: ast.AST) -> list[str]:
    """Return the full names of the modules that a node imports, if it is an import statement."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        assert not node.level, "relative imports are not used here"
        return [full if (full := f"{module}.{alias.name}") in fullNames() else module for alias in node.names]
    return []


def walkAtImport(node: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported with a module: not in its functions, nor for the type checker alone."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(each, ast.If) and isinstance(each.test, ast.Name) and each.test.id == "TYPE_CHECKING":
            continue
        yield from named(each)
        yield from walkAtImport(each)


@cache
def importsAtImport(name: str) -> frozenset[str]:
    """Return the full names of the modules that a module of the package imports at import time."""
    return frozenset(walkAtImport(parsed(sources()[name])))


@cache
def importsAnywhere(path: Path) -> frozenset[str]:
    """Return the full names of the modules that a file imports, in its functions as well."""
    return frozenset(name for node in ast.walk(parsed(path)) for name in named(node))


def shortNames(full: Iterable[str]) -> set[str]:
    """Return those of some full names that are of this package, without ``pirate.``."""
    return {each.removeprefix("pirate").removeprefix(".") or "." for each in full if roomOf(each) == "pirate"}


def arrows(name: str) -> set[str]:
    """Return the modules of the package that a module imports at import time."""
    return shortNames(importsAtImport(name))


def laterArrows(name: str) -> set[str]:
    """Return the modules of the package that a module imports in its functions, or for the type checker alone."""
    return shortNames(importsAnywhere(sources()[name])) - arrows(name)


def permissionsUsed(room: str, listed: str, find: Callable[[str], set[str]]) -> set[str]:
    """
    Return what the modules of a room import of other rooms, in the words of a table.

    :param listed: what the table lists for the room.
    :param find: returns the modules that a module imports.
    """
    found = set().union(*(find(name) for name in sources() if roomOf(name) == room))
    rooms = set(listed.split())
    return {roomOf(each) if roomOf(each) in rooms else each for each in found if roomOf(each) != room}


def quoted(names: Iterable[str]) -> str:
    """Return names as a docstring lists them."""
    return ", ".join(f"``{each}``" for each in names)


def importersOf(room: str, tableOfRooms: dict[str, str]) -> str:
    """Return, as a docstring lists them, what may import a room; with their names, the modules that it may import."""
    found = []
    for importer, allowed in tableOfRooms.items():
        modules = [each.removeprefix(f"{room}.") for each in allowed.split() if roomOf(each) == room]
        if modules:
            found.append(quoted([importer]) + (f" (only {quoted(modules)})" if modules != [room] else ""))
    return ", ".join(found)


def permissions(room: str) -> str:
    """Return the paragraph of a room's docstring about what it may import, and what may import it."""
    now, later = quoted(each for each in ROOMS[room].split() if each != "."), quoted(LATER.get(room, "").split())
    enter, enterLater = importersOf(room, ROOMS), importersOf(room, LATER)
    return (
        f"May import: {now or 'nothing'}{later and f'; inside functions only, {later}'}.  "
        f"May be imported by: {enter or 'nothing'}{enterLater and f'; inside functions only, {enterLater}'}."
    )


def isTest(name: str) -> bool:
    """Return whether a full name is that of the tests' package, or of a module in it."""
    return f"{name}.".startswith("pirate.test.")


class SourceTests(SynchronousTestCase):
    """The tables against the source."""

    def test_layout(self) -> None:
        """The folder shows the rooms of the table and the tests, and nothing else."""
        found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
        self.assertEqual(found, set(ROOMS) - {"."} | {"__init__", "test"})

    def test_rooms(self) -> None:
        """A room opens with a docstring; only the public faces import anything there."""
        trees = {room: parsed(sources()[room]) for room in rooms()}
        self.assertEqual({room for room, tree in trees.items() if len(tree.body) > 1}, FACES)

    def test_docstrings(self) -> None:
        """Each room's docstring says what the tables say: what the room may import, and what may import it."""
        for room in rooms():
            text = " ".join((ast.get_docstring(parsed(sources()[room])) or "").split())
            self.assertIn(" ".join(permissions(room).split()), text, room)

    def test_arrows(self) -> None:
        """Each room imports what the table lists for it: nothing else, and nothing less."""
        for room, listed in ROOMS.items():
            self.assertEqual(permissionsUsed(room, listed, arrows), set(listed.split()), room)

    def test_later(self) -> None:
        """The same for what is imported when it is needed, or for the type checker alone."""
        for room, listed in ROOMS.items():
            used = permissionsUsed(room, f"{listed} {LATER.get(room, '')}", laterArrows)
            self.assertEqual(used - set(listed.split()), set(LATER.get(room, "").split()), room)

    def test_modules(self) -> None:
        """Inside the package modules are imported, never a room as a whole; so no room loads what it does not need."""
        for name in sources():
            for arrow in arrows(name):
                package = sources()[arrow].name == "__init__.py" if arrow in sources() else True
                self.assertFalse(package and arrow != ".", f"{name} imports the room {arrow}")

    def test_others(self) -> None:
        """Each room imports the packages of others that the table lists for it: nothing else, and nothing less."""
        used: dict[str, set[str]] = {}
        for name in sources():
            packages = {each.partition(".")[0] for each in importsAtImport(name)} - sys.stdlib_module_names - {"pirate"}
            owner, known = roomOf(name), set()
            if name in OTHERS and name != owner:
                owner, known = name, set(OTHERS.get(owner, "").split())
            used.setdefault(owner, set()).update(packages - known)
        self.assertEqual(
            {name: found for name, found in used.items() if found}, {k: set(v.split()) for k, v in OTHERS.items()}
        )

    def test_noCircle(self) -> None:
        """The arrows between modules all lead one way."""
        TopologicalSorter({name: arrows(name) - {name} for name in sources()}).prepare()

    def test_noReactor(self) -> None:
        """The reactor is an argument: no module imports it at once; only the transport imports txZMQ, which does."""
        for name in sources():
            found = importsAtImport(name)
            self.assertNotIn("twisted.internet.reactor", found, name)
            self.assertFalse("txzmq" in found and roomOf(name) != "transport", name)

    def test_pure(self) -> None:
        """A pure room has no clock, file, thread or process of its own, not even inside its functions."""
        pure = [path for name, path in sources().items() if roomOf(name) in PURE]
        used = {each.partition(".")[0] for path in pure for each in importsAnywhere(path)}
        self.assertEqual(used - {"pirate", "__future__"}, set(PURE_LIBRARY.split()))

    def test_harmless(self) -> None:
        """Nothing that comes over the wire can be unpickled, evaluated, or run by a shell."""
        dangerous = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "subprocess", "code", "codeop"}
        builtin, methods = {"eval", "exec", "compile"}, {"eval", "exec", "system", "popen"}
        found: dict[str, set[str]] = {}
        for name, path in sources().items():
            for node in ast.walk(parsed(path)):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = [getattr(node, "module", None) or "", *(each.name for each in node.names)]
                    found.setdefault(name, set()).update(dangerous & {each.partition(".")[0] for each in names})
                elif isinstance(node, ast.Call):
                    self.assertNotIn(getattr(node.func, "id", ""), builtin, name)
                    self.assertNotIn(getattr(node.func, "attr", ""), methods, name)
        self.assertEqual({name: modules for name, modules in found.items() if modules}, DANGEROUS_ON_PURPOSE)

    def test_tests(self) -> None:
        """Nothing outside the tests imports from them, and no test module imports from another test module."""
        root = PACKAGE.parent
        others = [*root.glob("benchmarks/**/*.py"), *root.glob("docs/**/*.py"), *sources().values()]
        for path in others:
            self.assertEqual([each for each in importsAnywhere(path) if isTest(each)], [], str(path))
        importing = re.compile(r"^ *(?:from|import) pirate\.test\b(?!\.support\b).*", re.M)
        for path in (PACKAGE / "test").rglob("*.py"):
            self.assertEqual(importing.findall(path.read_text(encoding="utf-8")), [], str(path))


#: The modules that no module of a room may load, directly or indirectly, except for :data:`EXCEPTIONS`.
NEVER = {
    "errors wire settings broker pool": "twisted txzmq zmq zope asyncio logging threading",
    "auth": "txzmq twisted.internet.reactor",
    "transport.interfaces": "txzmq zmq twisted.internet.reactor",
    "server service hooks twistd tap": "txzmq zmq twisted.internet.reactor",
    "worker app echo pickled": "twisted txzmq zope asyncio dataclasses inspect logging",
    "client": "twisted txzmq zope asyncio logging",
    "commands": "twisted txzmq zope asyncio logging",
    "testing.harness testing.serverprocess": "twisted txzmq zope",
}
#: Modules that are imported only when they are needed, and may load what their room must not.
EXCEPTIONS = {
    "client.asyncclient",
    "client.executor",
    "client.twistedclient",
    "worker.asynciorunner",
    "worker.twistedrunner",
}

#: Imports modules one after the other, and names the first one that loads a forbidden module.  Where pyzmq is allowed,
#: so is all that it loads itself, which depends on its version.
PROBE = """
import importlib, sys
forbidden = set(sys.argv[1].split())
if "zmq" not in forbidden:
    import zmq
    forbidden -= set(sys.modules)
for name in sys.argv[2:]:
    importlib.import_module(name)
    found = [each for each in forbidden if any(f"{module}.".startswith(f"{each}.") for module in sys.modules)]
    if found:
        sys.exit(f"{name} loads {found}")
"""

#: Runs twistd, and names the forbidden modules that are loaded then.
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
    """The modules that are loaded in a fresh interpreter."""

    def runProgram(self, program: str, forbidden: str, *arguments: str) -> str:
        """
        Run a program.

        :return: its standard output.
        """
        done = subprocess.run(
            [sys.executable, "-c", program, forbidden, *arguments],
            env=environmentWith({}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def assertLight(self, forbidden: str, *names: str) -> None:
        """Check that no module loads a forbidden one; they are imported in this order."""
        self.runProgram(PROBE, forbidden, *(f"pirate.{name}" for name in names))

    def test_probe(self) -> None:
        """The probe finds a module that loads what it must not."""
        error = self.assertRaises(self.failureException, self.assertLight, "zmq", "errors", "transport.binding", "tap")
        self.assertIn("pirate.transport.binding loads ['zmq']", str(error))

    def test_rooms(self) -> None:
        """No module of a room loads what the table forbids the room."""
        for rooms, forbidden in NEVER.items():
            listed = {name for name in sources() if {name, roomOf(name)} & set(rooms.split())}
            self.assertGreaterEqual(len(listed), len(rooms.split()))
            self.assertLight(forbidden, *sorted(listed - EXCEPTIONS))

    def test_everyRoom(self) -> None:
        """The table says of every room what it must not load, but for those that may load anything."""
        listed = {roomOf(name) for rooms in NEVER for name in rooms.split()}
        self.assertEqual(set(ROOMS) - listed, {".", "pytestplugin"})
        self.assertLessEqual(EXCEPTIONS, set(sources()))

    def test_workerStarts(self) -> None:
        """A worker's program starts without what is slow to import."""
        self.assertLight(NEVER["worker app echo pickled"], "worker.worker", "echo")

    def test_commandLine(self) -> None:
        """The command line of the plugin loads neither the server nor the cores."""
        forbidden = "txzmq zmq twisted.internet.reactor pirate.service pirate.server pirate.broker pirate.pool"
        self.assertLight(forbidden, "tap")

    def test_plugin(self) -> None:
        """The plugin is four strings: it loads nothing of the package."""
        self.runProgram(PROBE, "pirate zmq txzmq twisted.internet.reactor", "twisted.plugins.pirate_plugin")

    def test_twistdHelp(self) -> None:
        """``twistd --help`` lists the plugin without loading the package."""
        shown = self.runProgram(TWISTD, "pirate zmq txzmq twisted.internet.reactor", "--help")
        self.assertRegex(shown, r"\n +pirate +Preforking")

    def test_pirateHelp(self) -> None:
        """``twistd pirate --help`` loads no more than the command line."""
        forbidden = "zmq txzmq twisted.internet.reactor pirate.service"
        shown = self.runProgram(TWISTD, forbidden, "pirate", "--help")
        for option in ("--frontend", "--min-servers", "--workers"):
            self.assertIn(option, shown)
