# -*- test-case-name: pirate.test.integration.test_client_command -*-
"""Tests of ``pirate-client`` with a real broker, in this process and as a program."""

from __future__ import annotations

import io
import json
import os
import signal

from pirate.auth.keygen import writePair
from pirate.commands.client import main
from pirate.test.support.scripted import PATIENCE, ClientCase, echo, inTurn, native, perl, silent
from pirate.test.support.servers import ProgramCase
from pirate.wire.words import Code

COMMAND = ("-m", "pirate.commands.client")


class CommandTests(ClientCase):
    """The command in this process."""

    def command(self, *argv: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """Return the exit status, standard output and standard error."""
        out, err = io.BytesIO(), io.StringIO()
        return main(argv, io.BytesIO(stdin), out, err), out.getvalue(), err.getvalue()

    def test_reply(self) -> None:
        """Only the reply is written to standard output."""
        endpoint = self.broker(echo).endpoint
        self.assertEqual(self.command("-e", endpoint, stdin=b"hello\n"), (0, b"hello\n", ""))
        self.assertEqual(self.command("-e", endpoint, "a", "b"), (0, b"a\nb\n", ""))

    def test_plain(self) -> None:
        """With --plain an old broker can be called; it sees the identity, and a retry has another."""
        broker = self.broker(inTurn(silent, perl))
        argv = ("-e", broker.endpoint, "-t", "30", "-r", "150", "-i", "me", "--plain", "hello")
        self.assertEqual(self.command(*argv), (0, b"HELLO\n", ""))
        self.assertEqual([broker.next(), broker.next()], [[b"me", b"", b"hello"], [b"me.2", b"", b"hello"]])

    def test_timeout(self) -> None:
        """A timeout exits with status 4 and one line that counts the attempts."""
        status, out, err = self.command("-e", self.broker(silent).endpoint, "-t", "0.3", "-r", "3", "x")
        self.assertEqual((status, out, err.count("\n")), (4, b"", 1))
        self.assertIn("within 0.3 s (3 attempts)", err)

    def test_appError(self) -> None:
        """An exception of the app is written to standard error, and the status is 3."""
        broker = self.broker(lambda frames: [native(frames).error(Code.APP_ERROR, "ValueError: bad")])
        self.assertEqual(
            self.command("-e", broker.endpoint, "x"), (3, b"", "pirate-client: the app failed: ValueError: bad\n")
        )


class ServerTests(ProgramCase):
    """The command with a real server."""

    def command(self, *argv: str) -> tuple[int, bytes, str]:
        """Return the exit status, standard output and standard error."""
        out, err = io.BytesIO(), io.StringIO()
        return main(argv, io.BytesIO(), out, err), out.getvalue(), err.getvalue()

    def test_everything(self) -> None:
        """A call in JSON, parts, a ping, many requests and an unknown service work as documented."""
        server = self.twistd("countdown", "--workers=2").ready()
        endpoint = ("-e", server.frontend, "-t", str(PATIENCE))
        self.assertEqual(self.command(*endpoint, "--stream", "3"), (0, b"3\n2\n1\n", ""))
        self.assertEqual(self.command(*endpoint, "--json", "2"), (0, b"2\n1\n", ""))
        status, out, err = self.command(*endpoint, "--ping")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, rb"^pirate \S+ at \S+: ready, workers 2, busy 0, idle 2, backlog 0, ms [\d.]+\n$")
        status, out, err = self.command(*endpoint, "--json", "-n", "200", "-c", "8", "2")
        told = json.loads(out)
        self.assertEqual((status, told["replies"], told["errors"], err), (0, 200, {}, ""))
        self.assertTrue(0 < told["latency_ms"]["p50"] <= told["latency_ms"]["max"])
        self.assertEqual(self.command(*endpoint, "-s", "nobody", "-n", "3", "1")[0], 10)
        self.assertEqual(server.stop(), 0)

    def test_keys(self) -> None:
        """The right keys are accepted, others denied; a file without a key is one line and status 2."""
        os.mkdir(f"{self.folder}/clients")
        for folder, name in ((self.folder, "server"), (f"{self.folder}/clients", "me"), (self.folder, "other")):
            writePair(folder, name)
        keys = (f"--curve-secret={self.folder}/server.key_secret", f"--curve-clients={self.folder}/clients")
        server = self.twistd("countdown", "--workers=1", *keys).ready()
        ask = ("-e", server.frontend, f"--curve-server={self.folder}/server.key", "-t", str(PATIENCE))
        mine = f"--curve-secret={self.folder}/clients/me.key_secret"
        self.assertEqual(self.command(*ask, mine, "1"), (0, b"1\n", ""))
        self.assertEqual(self.command(*ask, f"--curve-secret={self.folder}/other.key_secret", "1")[0], 11)
        status, out, err = self.command(*ask, f"--curve-secret={self.folder}/record", "1")
        self.assertEqual((status, out, err.count("\n")), (2, b"", 1))
        self.assertEqual(server.stop(), 0)


class ProgramTests(ClientCase):
    """The command as a program."""

    def test_pipe(self) -> None:
        """It reads and writes real pipes, byte for byte with --raw."""
        process = self.program(*COMMAND, "--raw", "-e", self.broker(echo).endpoint)
        payload = bytes(range(256)) * 4096 + b"\n"
        self.assertEqual(process.communicate(payload, timeout=PATIENCE), (payload, b""))
        self.assertEqual(process.returncode, 0)

    def test_interrupt(self) -> None:
        """Ctrl-C during a call ends it at once, with status 130 and one line."""
        # In a background job SIGINT is ignored, and the program would inherit that.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        broker = self.broker(silent)
        process = self.program(*COMMAND, "-e", broker.endpoint, "-t", "600", "x")
        broker.next()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=PATIENCE), (b"", b"pirate-client: interrupted\n"))
        self.assertEqual(process.returncode, 130)

    def test_brokenPipe(self) -> None:
        """A reader that closes its end makes the command exit with status 141 and no message."""
        process = self.program(*COMMAND, "-e", self.broker(echo).endpoint)
        assert process.stdout is not None and process.stdin is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write(bytes(200_000))
        process.stdin.close()
        self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(PATIENCE), 141)
