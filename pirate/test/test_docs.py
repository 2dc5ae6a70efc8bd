# -*- test-case-name: pirate.test.test_docs -*-
"""The documentation agrees with the program about options, signals, hooks, words, messages and figures."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import sys
import textwrap
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import BytesIO, StringIO
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pirate
from pirate.auth.rules import Refusal
from pirate.broker import replies, replycache
from pirate.client import options
from pirate.client.errors import AppError
from pirate.commands.client import main as client
from pirate.commands.keygen import main as keygen
from pirate.errors import Fatal
from pirate.hooks import Hooks
from pirate.pool import scaling
from pirate.pool.backoff import FIRST_DELAY, MAX_DELAY
from pirate.pool.pool import KILL_DELAY, SECOND_TERM_DELAY
from pirate.server import descriptors
from pirate.server.childprocess import Rejection
from pirate.service import JobServer
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.tap import Options
from pirate.testing import AppHarness, TestBed
from pirate.transport import router, turns
from pirate.twistd.signals import Signals
from pirate.wire import words
from pirate.wire.words import WORDS, Code

ROOT = Path(pirate.__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"

#: Every option, signal, hook and method of Net::Server, PreFork, PreForkSimple and Net::Server::ZMQ.
NET_SERVER = """
    min_servers max_servers min_spare_servers max_spare_servers spare_servers max_requests check_for_dead
    check_for_waiting check_for_spawn min_child_ttl check_for_dequeue max_dequeue serialize lock_file
    child_communication sig_passthrough

    conf_file log_level log_file log_function syslog_logsock syslog_ident syslog_logopt syslog_facility log4perl_conf
    log4perl_logger log4perl_poll port host proto ipv listen ipv6_package reverse_lookups double_reverse_lookups allow
    deny cidr_allow cidr_deny pid_file user group chroot background setsid no_close_by_child leave_children_open_on_hup
    no_client_stdout tie_client_stdout tied_stdin_callback tied_stdout_callback no_exit_on_close server_type

    app net-server zmq-client

    INT TERM QUIT HUP CHLD TTIN TTOU PIPE USR1 USR2

    configure_hook post_configure_hook post_bind_hook pre_loop_hook can_read_hook run_n_children_hook pre_fork_hook
    register_child child_init_hook post_accept_hook allow_deny_hook request_denied_hook post_process_request_hook
    post_client_connection_hook child_finish_hook parent_read_hook child_is_talking_hook idle_loop_hook
    cleanup_dead_child_hook delete_child_hook other_child_died_hook pre_server_close_hook post_child_cleanup_hook
    restart_open_hook restart_close_hook hup_delete_env_keys fatal_hook write_to_log_hook handle_log_error
    handle_syslog_error

    new run options configure default_values post_configure process_args default_port initialize_logging pre_bind bind
    post_bind loop accept accept_multi_port post_accept get_client_info allow_deny double_reverse_lookup
    process_request post_process_request run_client_connection done run_dequeue dequeue run_parent run_child
    run_n_children kill_n_children coordinate_children delete_child sig_hup sig_chld hup_server sig_pass
    register_sig_pass server_close server_exit shutdown_sockets close_parent close_children hup_children is_prefork
    net_server_type commandline get_property set_property log log_time fatal open_syslog prepared_ports port_info
    proto_object close_client_stdout
"""

MIB = 1 << 20

#: Options that the documents show, of other programs and of none.
OTHERS = {"--init", "--time", "--data", "--not-an-option", "--only", "--seconds", "--scenario", "--seeds", "--story"}


def read(name: str) -> str:
    """Return the text of a document, by its path in the checkout."""
    path = ROOT / name
    if not path.exists():
        raise SkipTest("the documents are not here")
    return path.read_text()


def example(test: SynchronousTestCase, name: str) -> ModuleType:
    """Import a module of the examples."""
    if not EXAMPLES.exists():
        raise SkipTest("the documents are not here")
    sys.path.insert(0, str(EXAMPLES))
    try:
        module = import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))
    test.addCleanup(sys.modules.pop, name, None)
    return module


def firstColumn(text: str) -> list[str]:
    """Return the literals in the first cell of each row of the ``list-table``s."""
    cells = re.findall(r"^ +\* - (.*(?:\n {7}\S.*)*)", text, re.M)
    return [literal for cell in cells for literal in literals(cell)]


def replaced(text: str, replacements: dict[str, str]) -> str:
    """Return the text with each key replaced by its value."""
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def literals(text: str) -> list[str]:
    """Return the literals of a text, each as one line."""
    return [" ".join(each.split()) for each in re.findall(r"``(.+?)``", text, re.S)]


#: The examples of the client's faces.
CLIENTS = ("client_blocking.py", "client_executor.py", "client_twisted.py", "client_asyncio.py")


class ReadmeTests(SynchronousTestCase):
    """The README, which cannot include files and so repeats them."""

    def test_examples(self) -> None:
        """The README shows the examples as they are in their files, which other tests run."""
        blocks = self.blocks()
        for name in ("shout.py", "req.py", "req.pl", "pirate.tac", *CLIENTS):
            self.assertIn(read(f"docs/examples/{name}").strip(), blocks, f"the README does not show {name}")

    def test_commands(self) -> None:
        """Each of the two commands is marked, so that a program can run it, and is one command."""
        for mark in ("demo", "test"):
            marked = rf"^\.\. {mark} command\n\n\.\. code-block:: sh\n\n((?: +.*\n)+)\n"
            found = re.findall(marked, read("README.rst"), re.M)
            self.assertEqual(len(found), 1, f"the {mark} command is not marked")
            lines = found[0].rstrip().split("\n")
            self.assertTrue(all(line.endswith(("&&", "\\")) for line in lines[:-1]), "it is several commands")

    def test_links(self) -> None:
        """Every page that the README links to exists."""
        for page in re.findall(r"docs/[\w/-]+\.rst", read("README.rst")):
            self.assertTrue((ROOT / page).exists(), page)

    def blocks(self) -> list[str]:
        """Return the blocks of code in the README."""
        found = re.findall(r"^\.\. code-block:: \w+\n\n((?:(?: {4}.*)?\n)+)", read("README.rst"), re.M)
        return [textwrap.dedent(block).strip() for block in found]


class OptionTests(SynchronousTestCase):
    """The options and messages in the documentation."""

    def test_names(self) -> None:
        """Every option that a page names exists in pirate, twistd or the commands."""
        known = {f"--{name}" for options in (Options(), ServerOptions()) for name in options.longOpt}
        known = {name.rstrip("=") for name in known} | OTHERS | clientOptions() | keygenOptions()
        for page in [ROOT / "README.rst", *DOCS.rglob("*.rst")]:
            named = re.findall(r"(?<![\w-])--[a-z][a-z-]*", page.read_text() if page.exists() else "")
            self.assertEqual([option for option in named if option not in known], [], f"in {page.name}")

    def test_reference(self) -> None:
        """The page on options includes the whole table of settings, and the other options."""
        text = read("docs/reference/command-line.rst")
        for owner in ("Settings", "RequestPolicy", "PeerLimits", "PoolLimits", "others"):
            self.assertIn(f".. settings:: {owner}\n", text)

    def test_message(self) -> None:
        """The page on options quotes messages as they are printed."""
        found = re.findall(r"\$ twistd -n pirate (.+)\n +(pirate: .+)\n", read("docs/reference/command-line.rst"))
        self.assertEqual(len(found), 2)
        for arguments, line in found:
            error = self.assertRaises(Fatal, Options().parseOptions, arguments.split())
            self.assertEqual(str(error), line)

    def test_clientErrors(self) -> None:
        """The page on pirate-client shows the errors without a server as they are printed."""
        folder = Path(mkdtemp(prefix="pirate-"))
        self.addCleanup(rmtree, folder)
        replacements = {"tcp://127.0.0.1:6670": f"ipc://{folder}/none", "0.5": "0.05", " 2 s": " 0.05 s"}
        shown = replaced(read("docs/reference/pirate-client.rst"), replacements)
        for arguments in (
            ["-t", "0", "hello"],
            ["-e", f"ipc://{folder}/none", "-t", "0.05", "hello"],
            ["-e", f"ipc://{folder}/none", "-t", "0.05", "--count", "1000", "hello"],
        ):
            err = StringIO()
            client(arguments, BytesIO(), BytesIO(), err)
            lines = [line for line in err.getvalue().splitlines() if "replies in" not in line]
            self.assertGreater(len(lines), 0)
            self.assertEqual([line for line in lines if f"    {line}\n" not in shown], [])

    def test_keygen(self) -> None:
        """The page on pirate-keygen shows a certificate as it is written, and the error for a file that exists."""
        folder = self.mktemp()
        os.mkdir(folder)
        for _ in range(2):
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as err, contextlib.suppress(SystemExit):
                keygen(["-d", folder, "alice"])
        shown = " ".join(read("docs/reference/pirate-keygen.rst").split())
        self.assertIn(err.getvalue().strip().replace(folder, "keys"), shown)
        written = (Path(folder) / "alice.key").read_text()
        self.assertIn(" ".join(written.split()[:-1]), shown)

    def test_netServer(self) -> None:
        """The page on Net::Server lists each of its options, signals, hooks and methods, and nothing else."""
        named = firstColumn(read("docs/reference/net-server.rst"))
        self.assertEqual(sorted(set(NET_SERVER.split()) ^ set(named)), [])

    def test_verdicts(self) -> None:
        """Each row of that page begins with a verdict: pirate, twistd, or not applicable and the reason."""
        cells = re.findall(r"^   \* - ``.*(?:\n {7}.*)*\n {5}- (.*)", read("docs/reference/net-server.rst"), re.M)
        self.assertGreater(len(cells), 90)
        verdict = re.compile(r"\*\*(pirate|twistd|Not applicable\*\*, (because|for the same reason))")
        self.assertEqual([cell for cell in cells if not verdict.match(cell)], [])

    def test_unit(self) -> None:
        """The systemd unit gives the server more time to stop than the server gives its workers."""
        seconds = re.search(r"^TimeoutStopSec=(\d+)$", read("docs/examples/pirate.service"), re.M)
        assert seconds is not None
        self.assertGreater(int(seconds[1]), PoolLimits().stopTimeout + 1)


def clientOptions() -> set[str]:
    """Return the options of ``pirate-client``, as its help lists them."""
    out = BytesIO()
    client(["--help"], BytesIO(), out, sys.stderr)
    return set(re.findall(r"--[a-z-]+", out.getvalue().decode()))


def keygenOptions() -> set[str]:
    """Return the options of ``pirate-keygen``, as its help lists them."""
    out = StringIO()
    with redirect_stdout(out), contextlib.suppress(SystemExit):
        keygen(["--help"])
    return set(re.findall(r"--[a-z-]+", out.getvalue()))


class CallableReactor:
    """A reactor that is running already."""

    def callWhenRunning(self, call: Callable[[], object]) -> None:
        """Call at once."""
        call()

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        """Call at once."""
        call(*arguments)

    def stop(self) -> None:
        """Do nothing: the reactor keeps running."""


class NameTests(SynchronousTestCase):
    """The names and figures in the documentation."""

    def test_signals(self) -> None:
        """The page on signals lists those that the server handles, and three that Twisted and Python handle."""
        bed = TestBed()
        signals = Signals(CallableReactor(), JobServer(bed.reactor, transport=bed.makeTransport))
        numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        before = {number: signal.getsignal(number) for number in numbers}
        signals.startService()
        handled = {signal.Signals(number).name for number in numbers if signal.getsignal(number) != before[number]}
        signals.stopService()
        self.assertEqual({number: signal.getsignal(number) for number in numbers}, before)
        server, _, _ = read("docs/reference/signals.rst").partition("To a worker")
        left = {"SIGUSR1", "SIGCHLD", "SIGPIPE"}
        self.assertEqual({f"SIG{name}" for name in firstColumn(server)}, handled | left)

    def test_hooks(self) -> None:
        """The page on hooks relates each hook to those of Net::Server, and lists nothing else."""
        hooks = [name for name in vars(Hooks) if not name.startswith("_")]
        self.assertEqual(firstColumn(read("docs/reference/hooks.rst")), hooks)

    def test_codes(self) -> None:
        """The page on the wire protocol explains each error code."""
        text = read("docs/reference/wire.rst")
        self.assertEqual([code for code in Code if not re.search(rf"^``{code}`` ", text, re.M)], [])

    def test_words(self) -> None:
        """The page on the wire protocol explains each word that a worker sends."""
        text = read("docs/reference/wire.rst")
        self.assertEqual([word for word in WORDS if not re.search(rf"^``{word.decode()}`` ", text, re.M)], [])

    def test_reasons(self) -> None:
        """The page on the wire protocol explains each reason for dropping a message."""
        text = read("docs/reference/wire.rst")
        reasons = {*re.findall(r"(?:Malformed|dropped\.count)\(\"([a-z-]+)\"", source()), *Rejection, *Refusal}
        self.assertGreater(len(reasons), 7)
        self.assertEqual([reason for reason in reasons if not re.search(rf"^``{reason}`` ", text, re.M)], [])

    def test_tests(self) -> None:
        """The pages on reliability and threats name tests that exist."""
        for page in ("reliability", "threats"):
            text = read(f"docs/topics/{page}.rst")
            named = {name for name in literals(text) if re.fullmatch(r"(?:\w+\.)?test_\w+(?:\.\w+)*", name)}
            self.assertGreater(len(named), 25)
            self.assertEqual([name for name in sorted(named) if not isTest(name)], [], page)

    def test_backOff(self) -> None:
        """The pages give the pauses between starts of workers as in the program."""
        text = " ".join(read("docs/howto/operate.rst").split())
        self.assertIn(f"a pause that grows from {FIRST_DELAY:g} to {MAX_DELAY:g} seconds", text)
        text = " ".join(read("docs/topics/design.rst").split())
        self.assertIn(f"{FIRST_DELAY:g} seconds, then twice as long each time, up to {MAX_DELAY:g} seconds", text)

    def test_figures(self) -> None:
        """The pages give figures as in the program."""
        policy, peers, pool = RequestPolicy(), PeerLimits(), PoolLimits()
        memory = policy.rememberMib * MIB / policy.rememberSeconds
        figures = {
            "topics/design": [
                f"When {policy.backlog:,} requests or {policy.backlogMib:g} MiB wait",
                f"reads at most {turns.MAX_MESSAGES} messages or {router.MAX_BYTES // MIB} MiB from each socket",
                f"up to {words.MAX_CREDIT}, and about a millisecond of work",
                f"by default for {policy.rememberSeconds:g} seconds, as far as {policy.rememberMib:g} MiB allow",
                f"and so on up to {scaling.MAX_BATCH}, a second apart",
                f"after {scaling.QUIET_TIME:g} seconds without a request",
                f"{SECOND_TERM_DELAY:g} seconds later a second TERM",
                f"and {KILL_DELAY:g} seconds after that KILL",
            ],
            "topics/reliability": [
                f"for {memory / (390 + 32) // 100 * 100:,.0f} requests a second with replies of 32 bytes",
                f"for {round(memory / (390 + 1024), -1):.0f} with 1 KiB",
                f"and for {memory / (590 + 70 * 1024):.0f} with 70 KiB",
                f"{replycache.ENTRY_BYTES} bytes, and for each frame",
                f"up to {replies.PARTS_LIMIT // MIB} MiB",
            ],
            "reference/wire": [
                f"at most {words.MAX_JSON:,} bytes",
                f"at most {words.MAX_ENVELOPE} frames, of {words.MAX_ENVELOPE_BYTES // 1024} KiB together",
                f"a text of at most {words.MAX_SERVICE} characters",
                f"1 to {words.MAX_CREDIT}, or up to its concurrency",
                f"2 to {words.MAX_CONCURRENCY} if it runs",
                f"{words.MAX_TEXT // 1024} KiB of each are read",
                f"{policy.backlog:,} requests, or {policy.backlogMib:g} MiB",
                f"Replies that a client does not read are kept, up to {router.HIGH_WATER_MARK:,}",
            ],
            "howto/bounds": [
                f":option:`twistd pirate --max-message-size` ({peers.maxMessageSize:g} MiB)",
                f"({peers.maxMessageFrames:,}, the envelope included)",
                f"({peers.maxMessageTotal:g} MiB) limit a whole message",
                f"goes on for {router.MAX_DROPPED:,} more frames",
                f"{descriptors.FOR_SERVER} for itself, {descriptors.FOR_WORKER} for each",
                f":option:`twistd pirate --handshake-timeout`, {peers.handshakeTimeout:g} seconds",
            ],
            "howto/operate": [
                f"default maximum of {pool.maxServers} workers",
                f":option:`twistd pirate --remember-mib`, {policy.rememberMib:g} MiB",
                f":option:`twistd pirate --stop-timeout`, {pool.stopTimeout:g} seconds by default",
            ],
            "howto/call": [
                f"The timeout, {options.TIMEOUT:g} seconds by default",
            ],
        }
        for page, phrases in figures.items():
            text = " ".join(read(f"docs/{page}.rst").split())
            self.assertEqual([phrase for phrase in phrases if phrase not in text], [], page)

    def test_countsNamed(self) -> None:
        """The pages name only counters that ``stats()`` returns, and each of these is documented."""
        bed = TestBed()
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        known = set(server.stats())
        server.abort()
        section = r"^%s\n-+\n(.*?)(?=^\S.*\n[-=]{3,}\n)"
        for page, title in (("howto/operate", "Monitoring"), ("topics/reliability", "Counters")):
            found = re.search(section % title, read(f"docs/{page}.rst"), re.S | re.M)
            assert found is not None
            words = {word for word in literals(found[1]) if re.fullmatch(r"[a-z_]+", word)}
            formula = re.search(r"received = .*", found[1])
            words |= set(re.findall(r"[a-z_]+", formula[0])) - {"the", "sum", "of"} if formula else set()
            self.assertEqual(words - known, set(), page)
        found = re.search(section % "What was refused", read("docs/howto/bounds.rst"), re.S | re.M)
        assert found is not None
        self.assertEqual(set(re.findall(r"^    '(\w+)':", found[1], re.M)) - known, set())
        everything = " ".join(page.read_text() for page in DOCS.rglob("*.rst")) + (JobServer.stats.__doc__ or "")
        self.assertEqual([name for name in known if not re.search(rf"[`{{']{name}[`}}']", everything)], [])

    def test_counts(self) -> None:
        """The docstring of ``JobServer.stats`` lists each counter."""
        bed = TestBed()
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        named = set(re.findall(r"``([a-z_]+)``", JobServer.stats.__doc__ or ""))
        self.assertEqual(named, set(server.stats()))
        server.abort()

    def test_logLines(self) -> None:
        """Every log line on the page on operation is one that the program writes."""
        text = read("docs/howto/operate.rst")
        detail = re.search(r"At level 3, info: (.*?)\n\n", text, re.S)
        assert detail is not None
        lines = firstColumn(text) + literals(detail[1])
        self.assertGreater(len(lines), 15)
        self.assertEqual([line for line in lines if f'"{line}"' not in source()], [])


def isTest(name: str) -> bool:
    """Return whether a test module, case or method of this name exists; the name leaves out ``pirate.test``."""
    path, _, rest = name.partition("test_")
    module, *attributes = rest.split(".")
    subject: Any = import_module(f"pirate.test.{path}test_{module}")
    for each in attributes:
        subject = getattr(subject, each, None)
    return subject is not None


def source() -> str:
    """Return the source of the whole program, without its tests."""
    return "\n".join(each.read_text() for each in sorted((ROOT / "pirate").rglob("*.py")) if "test" not in each.parts)


class AppTests(SynchronousTestCase):
    """The apps of the examples, called as a worker calls them."""

    def app(self, name: str, module: str = "apps") -> AppHarness:
        """Return a harness of an app of the examples, which is closed when the test ends."""
        harness = AppHarness(getattr(example(self, module), name))
        self.addCleanup(harness.close)
        return harness

    def test_shout(self) -> None:
        """The tutorial's app returns capitals."""
        self.assertEqual(self.app("shout", "shout").call(b"Ahoy!"), b"AHOY!")

    def test_frames(self) -> None:
        """Apps take and return several frames."""
        self.assertEqual(self.app("join").call(b"a", b"b", b"c"), b"a b c")
        self.assertEqual(self.app("split").call(b"a b c"), [b"a", b"b", b"c"])

    def test_generator(self) -> None:
        """A generator returns a part for each number."""
        self.assertEqual(self.app("countDown").stream(b"3").parts, [b"3", b"2", b"1"])

    def test_error(self) -> None:
        """The app accepts digits, and raises for anything else."""
        check = self.app("check")
        self.assertEqual(check.call(b"123"), b"")
        self.assertRaises(AppError, check.call, b"abc")

    def test_class(self) -> None:
        """An instance counts its own requests, until it is closed."""
        ledger = example(self, "apps").Ledger()
        harness = AppHarness(ledger)
        self.assertEqual([harness.call(b"one"), harness.call(b"two")], [b"1", b"2"])
        harness.close()
        self.assertRaises(sqlite3.ProgrammingError, ledger, b"three")

    def test_dequeue(self) -> None:
        """The dequeue example removes old files, and leaves new ones."""
        module: Any = example(self, "dequeue")
        folder = Path(self.mktemp())
        (folder / "spool").mkdir(parents=True)
        old, new = folder / "spool" / "old", folder / "spool" / "new"
        for each in (old, new):
            each.touch()
        os.utime(old, (0, 0))
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        with redirect_stdout(StringIO()) as said:
            module.sweep()
        self.assertEqual((Path("spool/old").exists(), Path("spool/new").exists()), (False, True))
        self.assertEqual(said.getvalue(), "removed spool/old\n")
