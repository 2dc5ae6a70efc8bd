# -*- test-case-name: pirate.test.integration.test_docs -*-
"""Run the examples of the documentation as it says, but on free ports."""

from __future__ import annotations

import configparser
import http.client
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socketserver
import sys
import textwrap
import threading
from pathlib import Path

from twisted.trial.unittest import SkipTest

from pirate.auth.keygen import writePair
from pirate.test.support.clients import ask
from pirate.test.support.dealer import isServed, keysOf
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import processesIn, remaining
from pirate.test.support.program import ROOT, Program, script
from pirate.test.support.servers import ProgramCase

EXAMPLES = ROOT / "docs" / "examples"
#: The endpoint of a free port, which replaces the ports of the examples.
FREE = {"frontend=6660": "frontend='*'", "backend=6661": "backend='*'", "tcp:8080": "tcp:0"}


class ExampleCase(ProgramCase):
    """A test case that runs copies of the examples in a folder of its own."""

    def setUp(self) -> None:
        """Skip the test if the documentation is not installed."""
        super().setUp()
        if not EXAMPLES.exists():
            raise SkipTest("the documents are not here")

    def copy(self, *names: str, **changes: str) -> None:
        """
        Copy examples.

        :param changes: the endpoints that replace those of ``frontend`` and ``backend``.
        """
        known = {"frontend": "tcp://127.0.0.1:6660", "backend": "tcp://127.0.0.1:6661"}
        self.change({known[key]: value for key, value in changes.items()}, *names)

    def change(self, changes: dict[str, str], *names: str) -> None:
        """Copy examples, and replace words that each of them must contain."""
        for name in names:
            text = (EXAMPLES / name).read_text()
            for old, new in changes.items():
                self.assertIn(old, text, f"{name} is not what it was")
                text = text.replace(old, new)
            (Path(self.folder) / name).write_text(text)

    def serve(self, *arguments: str) -> Program:
        """Start a server on free ports, whose app and hooks are among the examples."""
        given = ("--frontend=*", "--backend=*", *arguments)
        return self.launch(*script("twistd"), "-n", "--pidfile=", "pirate", *given).ready()

    def told(self, *command: str) -> tuple[int, list[str], list[str]]:
        """Return the exit status of a program, and the lines of its standard output and standard error."""
        # Examples rely on the end of the process to close their sockets, of which only -W error complains.
        program = self.launch("env", "PYTHONWARNINGS=", *command)
        return program.wait(), program.out.all(), program.err.all()


class ServerTests(ExampleCase):
    """Servers that are embedded, or started by another program."""

    def test_tac(self) -> None:
        """The .tac file serves, and stops on TERM."""
        self.copy("shout.py")
        self.change({"frontend=6660": FREE["frontend=6660"], "backend=6661": FREE["backend=6661"]}, "pirate.tac")
        server = self.launch(*script("twistd"), "--pidfile=", "-ny", "pirate.tac").ready()
        self.assertEqual(ask(server.frontend, b"Ahoy!"), [b"AHOY!"])
        self.assertEndsByTerm(server)

    def test_web(self) -> None:
        """The web service returns the app's reply, and stops together with its job server."""
        self.copy("shout.py")
        self.change(FREE, "web.py")
        server = self.launch(*script("twistd"), "--pidfile=", "-ny", "web.py").ready()
        self.assertEqual(self.post(server, b"ahoy"), (200, b"AHOY"))
        self.assertEndsByTerm(server)

    def test_webError(self) -> None:
        """An error in the app becomes an error of the web service."""
        self.copy("apps.py")
        self.change({**FREE, "shout.shout": "apps.check"}, "web.py")
        server = self.launch(*script("twistd"), "--pidfile=", "-ny", "web.py").ready()
        self.assertEqual(self.post(server, b"ahoy"), (500, b"ValueError: only digits, please"))

    def test_webTimeout(self) -> None:
        """The web service gives up a reply that does not arrive in time."""
        changes = {"minServers=2, maxServers=8": "minServers=0, maxServers=0", "timeout=10": "timeout=0.1"}
        self.change({**FREE, **changes}, "web.py")
        server = self.launch(*script("twistd"), "--pidfile=", "-ny", "web.py").ready()
        self.assertEqual(self.post(server, b"ahoy")[0], 504)

    def test_systemd(self) -> None:
        """The commands of the systemd unit start, reload and stop a server."""
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read(EXAMPLES / "pirate.service")
        service = unit["Service"]
        self.copy("shout.py")
        command = service["ExecStart"].replace("6660", "*").replace("6661", "*").split()
        self.assertEqual(Path(command[0]).name, "twistd")
        server = self.launch(*script("twistd"), *command[1:]).ready()
        self.assertEqual(ask(server.frontend, b"Ahoy!"), [b"AHOY!"])
        reload = shlex.split(service["ExecReload"].replace("$MAINPID", str(server.pid)))
        self.assertEqual(self.told(*reload), (0, [], []))
        server.out.until("reloaded")
        self.assertStops(server)

    def test_readme(self) -> None:
        """The README's first command prints the reply, and leaves no process behind."""
        found = re.search(r"^\.\. demo command\n\n.*\n\n((?: .*\n)+)", (ROOT / "README.rst").read_text(), re.M)
        assert found is not None
        installation, command = textwrap.dedent(found[1]).split("\n", 1)
        self.assertIn("pip install", installation)
        self.assertNotIn("pip", command)
        commands = Path(sys.executable).parent
        if not all((commands / name).exists() for name in ("twistd", "pirate-client")):
            raise SkipTest("this is not installed")
        (Path(self.folder) / ".venv").mkdir()
        (Path(self.folder) / ".venv" / "bin").symlink_to(commands)
        (Path(self.folder) / "docs").symlink_to(ROOT / "docs")
        for port, name in (("6660", "front"), ("6661", "back")):
            self.assertIn(port, command)
            command = command.replace(port, f"ipc://{self.folder}/{name}")
        self.assertEqual(self.told("sh", "-c", command), (0, ["AHOY"], []))
        self.assertEqual(remaining(processesIn(self.folder), PATIENCE), [])

    def assertEndsByTerm(self, server: Program) -> None:
        """Check that a server stops cleanly; twistd itself ends by the signal that stopped the reactor."""
        self.assertEqual(server.stop(), -signal.SIGTERM)
        self.assertUntroubled(server)

    def post(self, server: Program, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the response to an HTTP request."""
        port = int(server.out.until(r"Site starting on (\d+)")[0][1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("POST", "/", body)
        response = connection.getresponse()
        return response.status, response.read()


class SecureTests(ExampleCase):
    """The commands of the page on access control."""

    def page(self, beginning: str) -> list[str]:
        """Return the words of the page's command with this beginning, on free ports."""
        text = (ROOT / "docs" / "howto" / "secure.rst").read_text()
        found = re.search(rf"^    (?:\$ )?({re.escape(beginning)}(?:.*\\\n)*.*)", text, re.M)
        assert found is not None, beginning
        return shlex.split(re.sub("0.0.0.0:666[01]", "'*'", found[1]).replace("\\\n", " "))

    def test_keys(self) -> None:
        """Listed clients and a remote worker are admitted; a client with a worker's key is refused and logged."""
        commands = Path(sys.executable).parent
        if not (commands / "pirate-keygen").exists():
            raise SkipTest("this is not installed")
        self.copy("keys.sh", "shout.py", "curve_client.py", "curve_worker.py")
        path = f"PATH={commands}{os.pathsep}{os.environ['PATH']}"
        status, printed, errors = self.told("env", path, "sh", "-e", "keys.sh")
        self.assertEqual((status, len(printed), errors), (0, 4, []))
        twistd, *arguments = self.page("twistd -n pirate --frontend 0.0.0.0:6660 --backend 0.0.0.0:6661")
        # The server has one worker of its own, and shares the requests below with the remote one.
        server = self.launch(*script(twistd), "--pidfile=", *arguments, "--workers=1").ready()
        _, worker, _, *keys = self.page("python curve_worker.py")
        remote = self.launch(sys.executable, worker, server.backend, *keys)
        for name in ("alice", "bob", "alice", "bob"):
            _, client, _, *rest = self.page(f"python curve_client.py tcp://127.0.0.1:6660 {name}")
            self.assertEqual(self.told(sys.executable, client, server.frontend, *rest), (0, ["AHOY!"], []))
        self.change({"5000": "100"}, "curve_client.py")
        _, client, _, *rest = self.page("python curve_client.py tcp://127.0.0.1:6660 remote")
        status, printed, _ = self.told(sys.executable, client, server.frontend, *rest)
        self.assertEqual(printed, ["no reply: is the key listed, and does the server run?"])
        server.out.until(r"\[pirate#warn\] peers refused: unknown-key \(1\); the last one from 127\.0\.0\.1$")
        remote.kill()
        os.rename(f"{self.folder}/workers/remote.key", f"{self.folder}/clients/remote.key")
        os.kill(server.pid, signal.SIGHUP)
        server.out.until("reloaded")
        self.change({}, "curve_client.py")
        self.assertEqual(self.told(sys.executable, client, server.frontend, *rest), (0, ["AHOY!"], []))
        self.assertEqual(server.stop(), 0)

    def test_addresses(self) -> None:
        """A client outside the allowed network is refused; with another network in the command it is admitted."""
        self.copy("shout.py")
        twistd, *arguments = self.page("twistd -n pirate --frontend 0.0.0.0:6660 --insecure")
        server = self.launch(*script(twistd), "--pidfile=", *arguments, "--backend=*", "--workers=1").ready()
        self.assertFalse(isServed(server.frontend))
        server.out.until("peers refused: address-not-allowed")
        self.assertEqual(server.stop(), 0)
        arguments[arguments.index("10.0.0.0/8")] = "127.0.0.0/8"
        server = self.launch(*script(twistd), "--pidfile=", *arguments, "--backend=*", "--workers=1").ready()
        self.assertEqual(ask(server.frontend, b"Ahoy!"), [b"AHOY!"])
        self.assertStops(server)

    def test_credentials(self) -> None:
        """With its key in the service manager's credentials, a server requires keys of its clients only."""
        self.copy("shout.py")
        keys = Path(self.folder)
        clients = keys / "clients"
        clients.mkdir()
        for name in ("server", "alice"):
            writePair(keys, name)
        (keys / "alice.key").rename(clients / "alice.key")
        alice = keysOf(keys, "alice")
        credentials = keys / "credentials"
        credentials.mkdir()
        (keys / "server.key_secret").rename(credentials / "server")
        (credentials / "server").chmod(0o440)
        twistd, *arguments = self.page("twistd -n pirate --frontend 0.0.0.0:6660 --backend ipc://")
        _, *given = self.page("ExecStart=...")
        arguments = [*arguments[: arguments.index("--curve-secret")], *given, "--workers=1"]
        arguments = [re.sub("/run/jobs|/etc/jobs", self.folder, each) for each in arguments]
        environment = ("env", f"CREDENTIALS_DIRECTORY={credentials}")
        server = self.launch(*environment, *script(twistd), "--pidfile=", *arguments).ready()
        self.assertTrue(isServed(server.frontend, **alice))
        self.assertFalse(isServed(server.frontend))
        self.assertStops(server)

    def test_openKey(self) -> None:
        """A secret key that other users can read is refused before a socket is bound: one line, status 1."""
        secret = Path(self.folder) / "server.key_secret"
        writePair(self.folder, "server")[1].chmod(0o644)
        twistd, *arguments = self.page("twistd -n pirate --frontend 0.0.0.0:6660 --backend ipc://")
        arguments = [each.replace("/run/jobs", self.folder) for each in arguments]
        status, out, err = self.told(*script(twistd), "--pidfile=", *arguments)
        why = f"{secret} has mode 0644, but only its owner may read a secret key: chmod 600 {secret}"
        self.assertEqual((status, out, err), (1, [], [f"pirate: curve-secret: {why}"]))
        self.assertEqual(sorted(os.listdir(self.folder)), ["server.key", "server.key_secret"])


class WireTests(ExampleCase):
    """Clients and workers that use nothing but ZeroMQ."""

    def test_native(self) -> None:
        """The native client gets the reply or the error."""
        self.copy("apps.py")
        server = self.serve("--app=apps.check", "--workers=1")
        self.copy("native.py", frontend=server.frontend)
        self.assertEqual(self.told(sys.executable, "native.py", "123"), (0, ["[b'']"], []))
        self.assertEqual(
            self.told(sys.executable, "native.py", "abc"), (1, [], ["app-error: ValueError: only digits, please"])
        )

    def test_batch(self) -> None:
        """The client that sends several requests in a message gets the reply to each."""
        server = self.serve("--app=pirate.echo.echo", "--workers=2")
        self.copy("batch.py", frontend=server.frontend)
        self.assertEqual(self.told(sys.executable, "batch.py", "a", "b", "", "c"), (0, ["a b  c"], []))

    def test_errorReply(self) -> None:
        """A bare REQ client gets an error as exactly the bytes on the page on the wire protocol."""
        self.copy("apps.py")
        server = self.serve("--app=apps.check", "--workers=1", "--error-reply")
        self.assertEqual(ask(server.frontend, b"abc"), [(EXAMPLES / "error_reply.json").read_bytes().rstrip()])

    def test_plainWorker(self) -> None:
        """The ten lines of a worker serve the five lines of a client."""
        server = self.serve("--workers=0", "--external-workers")
        self.copy("req.py", frontend=server.frontend)
        self.copy("plain_worker.py", backend=server.backend)
        worker = self.launch(sys.executable, "plain_worker.py")
        for _ in range(2):
            self.assertEqual(self.told(sys.executable, "req.py"), (0, ["b'AHOY!'"], []))
        worker.kill()
        self.assertStops(server)

    def test_perl(self) -> None:
        """The worker in Perl serves the client in Perl, and reports its errors."""
        perl = shutil.which("perl") or "perl-is-not-here"
        if not shutil.which(perl) or self.told(perl, "-MZMQ::FFI", "-e", "1")[0]:
            raise SkipTest("Perl's ZMQ::FFI is not here")
        server = self.serve("--workers=0", "--external-workers", "--error-reply")
        self.copy("req.pl", frontend=server.frontend)
        self.change({"tcp://127.0.0.1:6661": server.backend, "uc shift": "uc(shift) =~ s/NO/die 'no'/er"}, "worker.pl")
        worker = self.launch(perl, "worker.pl")
        self.assertEqual(self.told(perl, "req.pl"), (0, ["AHOY!"], []))
        failed = json.loads(ask(server.frontend, b"no")[0])
        self.assertEqual((failed["code"], failed["message"][:2]), ("app-error", "no"))
        self.assertEqual(self.told(perl, "req.pl"), (0, ["AHOY!"], []))
        worker.kill()
        self.assertStops(server)


class CookbookTests(ExampleCase):
    """The cookbook's clients, in the languages that are installed."""

    def example(self, server: Program, name: str) -> list[str]:
        """Return the output of an example that calls a server."""
        self.copy(name)
        status, printed, errors = self.told(sys.executable, name, server.frontend)
        self.assertEqual((status, errors), (0, []))
        return printed

    def test_python(self) -> None:
        """The examples for users of Celery, zerorpc and process pools work."""
        self.copy("cookbook_tasks.py", "cookbook_square.py")
        tasks = self.serve("--app=cookbook_tasks.run", "--workers=1")
        squares = self.serve("--app=cookbook_square.square", "--workers=1")
        self.assertEqual(self.example(tasks, "cookbook_celery.py"), ["5", "[0, 2, 4, 6]"])
        lost = "LookupError there is no task 'sing'"
        self.assertEqual(self.example(tasks, "cookbook_zerorpc.py"), ["Hello, Bo!", lost])
        self.assertEqual(self.example(squares, "cookbook_pool.py"), ["[0, 1, 4, 9, 16]"] * 2 + ["81"])

    def test_c(self) -> None:
        """The client in C compiles without a warning, and gets its reply."""
        compiler = shutil.which("cc")
        self.copy("req.c", "shout.py")
        if compiler is None or self.told(compiler, "req.c", "-Wall", "-Wextra", "-o", "req", "-lzmq")[0]:
            raise SkipTest("cc and libzmq are not here")
        server = self.serve("--app=shout.shout", "--workers=1")
        self.assertEqual(self.told("./req", server.frontend), (0, ["AHOY!"], []))

    def test_node(self) -> None:
        """Both clients in Node get their replies, and the native one gets an error."""
        node = shutil.which("node")
        if node is None or self.told(node, "-e", 'require("zeromq")')[0]:
            raise SkipTest("Node's zeromq is not here")
        self.copy("req.js", "apps.py")
        server = self.serve("--app=apps.check", "--workers=1", "--error-reply")
        self.copy("native.js", frontend=server.frontend)
        reply = self.told(node, "req.js", server.frontend)
        self.assertEqual((reply[0], json.loads(reply[1][0])["code"], reply[2]), (0, "app-error", []))
        self.assertEqual(self.told(node, "native.js", "123"), (0, [""], []))
        why = "app-error: ValueError: only digits, please"
        self.assertEqual(self.told(node, "native.js", "abc"), (1, [], [why]))

    def test_go(self) -> None:
        """The client in Go gets its reply, if its package is on GOPATH or installed by the system."""
        go = shutil.which("go")
        self.copy("req.go", "shout.py")
        path = os.pathsep.join([os.environ.get("GOPATH", os.path.expanduser("~/go")), "/usr/share/gocode"])
        place = ("env", "GO111MODULE=off", f"GOPATH={path}")
        if go is None or self.told(*place, go, "build", "-o", "req", "req.go")[0]:
            raise SkipTest("Go and its zmq4 are not here")
        server = self.serve("--app=shout.shout", "--workers=1")
        self.assertEqual(self.told("./req", server.frontend), (0, ["AHOY!"], []))


class Echo(socketserver.StreamRequestHandler):
    """A server that returns one line of each connection in capitals."""

    def handle(self) -> None:
        """Send the line back in capitals."""
        self.wfile.write(self.rfile.readline().upper())


class SeveralTests(ExampleCase):
    """Apps that run several requests at once, and the tests of apps."""

    def test_asyncio(self) -> None:
        """The coroutine function gets its line from another server; 20 run at the same time."""
        self.copy("asyncapps.py")
        other = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
        self.addCleanup(other.server_close)
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(other.shutdown)
        server = self.serve("--app=asyncapps.fetch", "--concurrency=100", "--workers=2")
        port = other.server_address[1]
        answers = [self.asking(server.frontend, b"127.0.0.1", b"%d" % port, b"line %d" % each) for each in range(20)]
        self.assertEqual([each.result() for each in answers], [[b"LINE %d" % each] for each in range(20)])
        self.assertStops(server)

    def test_twisted(self) -> None:
        """The result of a Deferred, and of a coroutine that awaits it, is the reply."""
        self.copy("deferredapps.py")
        for app, reply in (("ring", b"ding!"), ("ringTwice", b"ding!!")):
            server = self.serve(f"--app=deferredapps.{app}", "--loop=twisted", "--concurrency=100", "--workers=1")
            self.assertEqual(ask(server.frontend, b"ding"), [reply])
            self.assertStops(server)

    def test_threads(self) -> None:
        """The plain function runs in threads, 20 at the same time."""
        self.copy("threadapps.py")
        server = self.serve("--app=threadapps.resolve", "--threads=20", "--workers=1")
        answers = [self.asking(server.frontend, b"127.0.0.1") for _ in range(20)]
        self.assertEqual([each.result() for each in answers], [[b"127.0.0.1"]] * 20)
        self.assertStops(server)

    def test_tests(self) -> None:
        """The tests in the documentation pass with unittest, trial and pytest."""
        self.copy("shout.py", "asyncapps.py", "test_apps.py", "test_server.py", "test_pytest.py", "test_trial.py")
        commands = ["unittest test_apps test_server", "twisted.trial test_trial"]
        if importlib.util.find_spec("pytest"):
            commands.append("pytest -q -p no:cacheprovider test_pytest.py")
        programs = [self.launch(sys.executable, "-m", *command.split()) for command in commands]
        for program in programs:
            self.assertEqual(program.wait(), 0, [*program.out.all(), *program.err.all()])


class AppTests(ExampleCase):
    """The examples of apps and hooks that need a server."""

    def test_context(self) -> None:
        """The context has the worker, the request and the client."""
        self.copy("apps.py")
        server = self.serve("--app=apps.describe", "--workers=1")
        told = json.loads(ask(server.frontend, b"")[0])
        self.assertEqual(told.pop("pid"), server.workers()[0])
        self.assertEqual(len(told.pop("request")), 16)
        self.assertEqual(told, {"attempt": 1, "service": "", "client": "127.0.0.1"})

    def test_dequeue(self) -> None:
        """The dequeue callable runs in a worker of its own, and its output is logged."""
        self.copy("dequeue.py")
        old = Path(self.folder) / "spool" / "old"
        old.parent.mkdir()
        old.touch()
        os.utime(old, (0, 0))
        server = self.serve("--dequeue=dequeue.sweep", "--check-for-dequeue=0.1", "--workers=1")
        server.out.until(r"worker \d+ stdout: removed spool/old")
        self.assertFalse(old.exists())
        self.assertStops(server)

    def test_hooks(self) -> None:
        """The hooks log the clients' endpoint, and each worker that was lost."""
        self.copy("watch.py")
        server = self.serve("--hooks=watch.Record", "--workers=1")
        server.out.until(f"clients can connect to {re.escape(server.frontend)}$")
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        server.out.until(f"lost {victim}: signal SIGKILL; there are 0 others")

    def test_rules(self) -> None:
        """The hook denies large requests and a private service, each with a reason."""
        self.copy("doorkeeper.py")
        server = self.serve("--hooks=doorkeeper.Rules", "--workers=1")
        client = self.native(server.frontend)
        self.assertEqual(client.receive(client.send(b"small"))[1], [b"small"])
        for body, options, message in (
            (bytes(1025), {}, "1025 bytes are too many"),
            (b"small", {"service": "reports"}, "it is not allowed"),
        ):
            told, _ = client.receive(client.send(body, **options))
            self.assertEqual((told["code"], told["message"]), ("denied", message))
        self.assertEqual(server.stop(), 0)
