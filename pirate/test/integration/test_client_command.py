# -*- test-case-name: pirate.test.integration.test_client_command -*-
"""The command line of the client against a real broker, in this process and as a program."""

from __future__ import annotations

import io
import signal

from pirate.client.command import main
from pirate.test.integration.test_client import PATIENCE, ClientCase, echo, inTurn, native, perl, silent
from pirate.wire.words import Code

COMMAND = ("-m", "pirate.client.command")


class CommandTests(ClientCase):
    """The command in this process."""

    def command(self, *argv: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """The exit status, what is on standard output, and what is on standard error."""
        out, err = io.BytesIO(), io.StringIO()
        return main(argv, io.BytesIO(stdin), out, err), out.getvalue(), err.getvalue()

    def test_reply(self) -> None:
        """The reply alone is on standard output."""
        endpoint = self.broker(echo).endpoint
        self.assertEqual(self.command("-e", endpoint, stdin=b"hello\n"), (0, b"hello\n", ""))
        self.assertEqual(self.command("-e", endpoint, "a", "b"), (0, b"a\nb\n", ""))

    def test_plain(self) -> None:
        """With --plain an old broker is served, the identity is what it sees, and a retry has another."""
        broker = self.broker(inTurn(silent, perl))
        argv = ("-e", broker.endpoint, "-t", "0.2", "-r", "150", "-i", "me", "--plain", "hello")
        self.assertEqual(self.command(*argv), (0, b"HELLO\n", ""))
        self.assertEqual([broker.next(), broker.next()], [[b"me", b"", b"hello"], [b"me.2", b"", b"hello"]])

    def test_timeout(self) -> None:
        """Giving up is status 4 and one line that counts the tries."""
        status, out, err = self.command("-e", self.broker(silent).endpoint, "-t", "0.2", "-r", "3", "x")
        self.assertEqual((status, out, err.count("\n")), (4, b"", 1))
        self.assertIn("within 0.6 s (3 tries)", err)

    def test_appError(self) -> None:
        """What the app raised is on standard error, and the status is 3."""
        broker = self.broker(lambda frames: [native(frames).error(Code.APP_ERROR, "ValueError: bad")])
        self.assertEqual(
            self.command("-e", broker.endpoint, "x"), (3, b"", "pirate-client: the app failed: ValueError: bad\n")
        )


class ProgramTests(ClientCase):
    """The command as a program."""

    def test_pipe(self) -> None:
        """It reads and writes real pipes, byte for byte if asked."""
        process = self.program(*COMMAND, "--raw", "-e", self.broker(echo).endpoint)
        payload = bytes(range(256)) * 4096 + b"\n"
        self.assertEqual(process.communicate(payload, timeout=PATIENCE), (payload, b""))
        self.assertEqual(process.returncode, 0)

    def test_interrupt(self) -> None:
        """Ctrl-C in the middle of a call ends it at once, with 130 and one line."""
        # Ignored where the tests run in the background, it would be ignored in the program too.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        broker = self.broker(silent)
        process = self.program(*COMMAND, "-e", broker.endpoint, "-t", "600", "x")
        broker.next()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=PATIENCE), (b"", b"pirate-client: interrupted\n"))
        self.assertEqual(process.returncode, 130)

    def test_brokenPipe(self) -> None:
        """A reader that went away ends it with 141 and not a word."""
        process = self.program(*COMMAND, "-e", self.broker(echo).endpoint)
        assert process.stdout is not None and process.stdin is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write(bytes(200_000))
        process.stdin.close()
        self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(PATIENCE), 141)
