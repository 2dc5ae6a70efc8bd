# -*- test-case-name: pirate.test.commands.test_client -*-
"""Tests of ``pirate-client`` with a fake client."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate import __version__
from pirate.client import errors
from pirate.client.call import Call
from pirate.client.endpoints import Outage
from pirate.client.ping import PingReply
from pirate.commands import client as command
from pirate.commands.client import ExitStatus, main
from pirate.errors import ConfigurationError
from pirate.wire.words import Code


class FakeClient:
    """A client that returns its request, or raises; it records its arguments."""

    def __init__(self, error: BaseException | None = None, reply: Any = None) -> None:
        self.error = error
        self.reply = reply
        self.made: dict[str, Any] = {}
        self.asked: list[bytes] = []
        self.service = ""
        self.always = False
        self.state = "ready"
        self.outage: Any = None

    def __call__(self, endpoint: list[str], **made: Any) -> FakeClient:
        self.outage = made.pop("outage")
        self.made = {"endpoint": endpoint, **made}
        return self

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def call(self, *body: bytes, service: str = "") -> Any:
        self.asked, self.service = list(body), service
        if self.error is not None:
            raise self.error
        if self.reply is not None:
            return self.reply
        return list(body)

    def ping(self, timeout: float) -> PingReply:
        self.asked = [b"ping"]
        return PingReply("tcp://h:1", "pirate", "1.0", self.state, 5, 3, 2, 4)

    @contextmanager
    def stream(self, *body: bytes, service: str = "") -> Iterator[Iterator[list[bytes]]]:
        self.asked, self.service = list(body), service
        yield self.parts()

    def parts(self) -> Iterator[list[bytes]]:
        yield from ([each] for each in self.asked)
        if self.error is not None:
            raise self.error

    def map(self, payloads: Iterable[Any], **options: Any) -> Iterator[Any]:
        for number, payload in enumerate(payloads):
            self.asked = list(payload)
            if self.error is not None and number == 2 and isinstance(self.error, KeyboardInterrupt):
                raise self.error
            call = Call(self.asked, now=monotonic(), timeout=1, attempts=1, done=list[Call]().append)
            call.error = (
                self.error if (number % 2 or self.always) and isinstance(self.error, errors.CallError) else None
            )
            self.made["after"](call)
            yield call.error or payload


class BrokenOutput(io.BytesIO):
    """A standard output that cannot be written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, data: Any) -> int:
        raise OSError(self.number, "the disk is full")


class CommandTests(SynchronousTestCase):
    """Input, output and the exit status."""

    def setUp(self) -> None:
        """Replace the client by a fake."""
        self.client = FakeClient()
        self.patch(command, "Client", self.client)

    def run_(self, *argv: str, stdin: bytes = b"", stdout: io.BytesIO | None = None) -> tuple[int, bytes, str]:
        """Return the exit status, standard output and standard error."""
        out, err = stdout or io.BytesIO(), io.StringIO()
        status = main(argv, io.BytesIO(stdin), out, err)
        return status, out.getvalue(), err.getvalue()

    def test_arguments(self) -> None:
        """Each argument is a frame, options may stand between them, and the reply's frames are lines."""
        self.assertEqual(self.run_("a", "-t", "1", "b c", ""), (0, b"a\nb c\n\n", ""))
        self.assertEqual(self.client.asked, [b"a", b"b c", b""])

    def test_dashes(self) -> None:
        """After -- every argument is a frame; a negative number and a lone dash always are."""
        self.run_("--plain", "-5", "-", "--", "-x", "--", "--raw")
        self.assertEqual(self.client.asked, [b"-5", b"-", b"-x", b"--", b"--raw"])

    def test_undecodable(self) -> None:
        """An argument that is not text in this locale is sent byte for byte."""
        self.run_("\udcff\u00e9")
        self.assertEqual(self.client.asked, [b"\xff\xc3\xa9"])

    def test_stdin(self) -> None:
        """Without arguments the request is standard input, less one trailing newline."""
        for given, sent in ((b"a\n", b"a"), (b"a\n\n", b"a\n"), (b"a", b"a"), (b"", b""), (b"a\nb\n", b"a\nb")):
            self.assertEqual(self.run_(stdin=given), (0, sent + b"\n", ""))
            self.assertEqual(self.client.asked, [sent])

    def test_raw(self) -> None:
        """--raw neither removes nor adds a byte."""
        self.assertEqual(self.run_("--raw", stdin=b"\0a\n"), (0, b"\0a\n", ""))
        self.assertEqual(self.run_("--raw", "a", "b"), (0, b"ab", ""))

    def test_defaults(self) -> None:
        """The defaults are those of the client, but for the codec."""
        self.run_("a")
        made: dict[str, object] = {
            "endpoint": ["tcp://127.0.0.1:6660"],
            "timeout": 10.0,
            "attempts": 2,
            "identity": None,
            "plain": False,
        }
        made["codec"] = "frames"
        self.assertEqual(self.client.made, made)

    def test_flags(self) -> None:
        """The options reach the client."""
        short = ("-t", "0.5", "-r", "3", "-e", "6661", "-i", "me", "--plain", "a")
        long = ("--timeout=0.5", "--attempts=3", "--endpoint=6661", "--identity=me", "--plain", "a")
        made: dict[str, object] = {
            "endpoint": ["6661"],
            "timeout": 0.5,
            "attempts": 3,
            "identity": b"me",
            "plain": True,
        }
        made["codec"] = "frames"
        for argv in (short, long):
            self.run_(*argv)
            self.assertEqual(self.client.made, made)

    def test_several(self) -> None:
        """Several endpoints, a service and keys reach the client."""
        argv = ("-e", "6661", "-e", "h:2", "--curve-server=s", "--curve-secret=m", "--service=reports", "a")
        self.assertEqual(self.run_(*argv)[0], 0)
        self.assertEqual(self.client.made["endpoint"], ["6661", "h:2"])
        self.assertEqual(self.client.made["curve"], ("s", "m"))
        self.assertEqual(self.client.service, "reports")

    def test_file(self) -> None:
        """A file is one frame, after the arguments; - is standard input; with --frames each line is a frame."""
        path = Path(self.mktemp())
        path.write_bytes(b"x\ny\n")
        for argv, sent in (
            (("-f", str(path)), [b"x\ny\n"]),
            (("a", "--file", str(path), "--file", "-"), [b"a", b"x\ny\n", b"in\nput"]),
            (("--frames", "-f", str(path)), [b"x", b"y"]),
            (("--frames", "--raw", "-f", str(path)), [b"x\n", b"y\n"]),
            (("--frames",), [b"in", b"put"]),
        ):
            self.assertEqual(self.run_(*argv, stdin=b"in\nput\n")[0], 0)
            self.assertEqual(self.client.asked, sent)

    def test_json(self) -> None:
        """With --json requests are sent as compact JSON, and each line of the reply is readable JSON."""
        self.assertEqual(self.run_("--json", '{"a": [1, 2]}', '"\u00e9"')[1], '{"a": [1, 2]}\n"\u00e9"\n'.encode())
        self.assertEqual(self.client.asked, [b'{"a":[1,2]}', b'"\\u00e9"'])
        self.client.reply = [b"AHOY"]
        status, out, err = self.run_("--json", "1")
        self.assertEqual((status, out, err.count("\n")), (14, b"", 1))
        self.assertIn("the reply is not JSON", err)

    def test_ping(self) -> None:
        """A ping writes the server's state as text or as an object with the same words, and reads no request."""
        status, out, _ = self.run_("--ping")
        words = b"pirate 1.0 at tcp://h:1: ready, workers 5, busy 3, idle 2, backlog 4, ms "
        self.assertEqual((status, out[: len(words)]), (0, words))
        shown = json.loads(self.run_("--ping", "--json")[1])
        self.assertTrue(shown.pop("ms") >= 0)
        named = {"endpoint": "tcp://h:1", "server": "pirate", "version": "1.0", "state": "ready"}
        self.assertEqual(shown, {**named, "workers": 5, "busy": 3, "idle": 2, "backlog": 4})

    def test_pingNotReady(self) -> None:
        """A server that is not ready has an exit status of its own."""
        for self.client.state in ("starting", "no-workers", "stopping", "unknown"):
            status, out, err = self.run_("--ping")
            self.assertEqual((status, err), (15, ""))
            self.assertIn(f": {self.client.state}, workers".encode(), out)
            status, out, err = self.run_("--ping", "--json")
            self.assertEqual((status, err, json.loads(out)["state"]), (15, "", self.client.state))

    def test_outage(self) -> None:
        """Outages are reported on standard error, a line for each."""

        def call(*body: bytes, service: str = "") -> list[bytes]:
            for kind in ("lost", "connected", "unreachable"):
                self.client.outage(Outage(kind, "tcp://h:1", 1))
            return [b"reply"]

        self.client.call = call  # type: ignore[method-assign]
        lines = ("connection to tcp://h:1 lost, waiting", "connected to tcp://h:1", "waiting for tcp://h:1")
        self.assertEqual(self.run_("a"), (0, b"reply\n", "".join(f"pirate-client: {line}\n" for line in lines)))

    def test_stream(self) -> None:
        """Parts are written as they arrive, even if an error follows."""
        self.client.error = errors.failure(Code.WORKER_LOST, "")
        status, out, _ = self.run_("--stream", "3", "2")
        self.assertEqual((status, out), (7, b"3\n2\n"))

    def test_count(self) -> None:
        """--count writes a summary to standard error and no replies; the most frequent error gives the exit status."""
        status, out, err = self.run_("-n", "4", "-c", "2", "a")
        self.assertEqual((status, out, err.count("\n")), (0, b"", 2))
        self.assertIn("pirate-client: 4 of 4 replies in ", err)
        self.client.error = errors.failure(Code.BUSY, "")
        status, out, err = self.run_("-n", "4", "a")
        self.assertEqual((status, out), (8, b""))
        self.assertIn("pirate-client: busy: 2, the first: the server at", err)

    def test_countJson(self) -> None:
        """With --json the summary is one object on standard output."""
        self.client.error = errors.failure(Code.BUSY, "")
        status, out, err = self.run_("-n", "4", "--json", "1")
        shown = json.loads(out)
        self.assertEqual((status, err, out.count(b"\n")), (8, "", 1))
        self.assertEqual((shown["requests"], shown["replies"], shown["errors"]), (4, 2, {"busy": 2}))
        self.assertEqual(list(shown["latency_ms"]), ["p50", "p90", "p99", "max"])

    def test_countInVain(self) -> None:
        """If the first request finds no server, the rest are not sent."""
        self.client.error, self.client.always = errors.Unavailable("nobody answers"), True
        status, out, err = self.run_("-n", "1000000", "a")
        self.assertEqual((status, out), (16, b""))
        self.assertIn("pirate-client: 0 of 1 replies in ", err)
        self.assertTrue(err.endswith("pirate-client: gave up: the remaining 999999 were not sent\n"))
        status, out, err = self.run_("-n", "1000000", "--json", "1")
        self.assertEqual((status, json.loads(out)["requests"], err), (16, 1, ""))

    def test_countInterrupted(self) -> None:
        """Ctrl-C writes the summary so far."""
        self.client.error = KeyboardInterrupt()
        status, _, err = self.run_("-n", "9", "a")
        self.assertEqual(status, 130)
        self.assertIn("2 of 2 replies", err)
        self.assertTrue(err.endswith("pirate-client: interrupted\n"))

    def test_usage(self) -> None:
        """An invalid option is one line with the value and the valid form, status 2, and nothing is sent."""
        for argv, words in (
            (("-t", "0", "a"), ("--timeout", "'0'", "seconds above 0")),
            (("-t", "nan", "a"), ("--timeout", "'nan'")),
            (("-t", "soon", "a"), ("--timeout", "'soon'")),
            (("-r", "1.5", "a"), ("--attempts", "'1.5'", "1 to 1000")),
            (("--attempts=0", "a"), ("--attempts", "'0'")),
            (("-t",), ("--timeout", "expected one argument")),
            (("--sooner", "a"), ("--sooner", "--help")),
            (("-n", "0", "a"), ("--count", "'0'", "1 to ")),
            (("-n", "2", "-c", "x", "a"), ("--concurrency", "'x'")),
            (("-c", "2", "a"), ("--concurrency needs --count",)),
            (("--completion", "tcsh"), ("--completion", "'tcsh'", "bash")),
            (("--curve-server", "f", "a"), ("--curve-server needs --curve-secret",)),
            (("--curve-secret", "f", "a"), ("--curve-secret needs --curve-server",)),
            (("-f", "-", "-f", "-"), ("--file -", "once")),
            (("-f", "/nowhere/x"), ("--file /nowhere/x", "No such file")),
            (("--plain", "--stream", "a"), ("--plain", "--stream")),
            (("--plain", "--service=s", "a"), ("--plain", "--service")),
            (("--ping", "a"), ("--ping", "a request")),
            (("--ping", "--frames"), ("--ping", "--frames")),
            (("--count=2", "--stream", "a"), ("--stream", "--count")),
            (("--json", "--raw", "1"), ("--json", "--raw")),
            (("--json", "word"), ("--json", "'word' is not JSON", "quotes")),
        ):
            status, out, err = self.run_(*argv)
            self.assertEqual((status, out, err.count("\n"), self.client.asked), (2, b"", 1, []))
            self.assertTrue(err.startswith("pirate-client: "))
            for word in words:
                self.assertIn(word, err)

    def test_help(self) -> None:
        """--help and --version go to standard output; the help names every option and every exit status."""
        status, out, err = self.run_("--help")
        self.assertEqual((status, err), (0, ""))
        for word in ("--timeout", "--attempts", "--endpoint", "--identity", "--plain", "--raw", "--version"):
            self.assertIn(word, out.decode())
        joined = " ".join(out.decode().split())
        for each in ExitStatus:
            self.assertIn(f"{each.value} {each.name.lower().replace('_', ' ')}", joined)
        self.assertEqual(self.run_("--version"), (0, f"pirate-client {__version__}\n".encode(), ""))

    def test_exits(self) -> None:
        """Each error has its own exit status and one line on standard error; standard output stays empty."""
        seen = []
        for code in Code:
            self.client.error = errors.failure(code, "words")
            status, out, err = self.run_("a")
            seen.append(status)
            self.assertEqual((out, err), (b"", f"pirate-client: {self.client.error}\n"))
        self.assertEqual(seen, [3, 6, 7, 5, 8, 10, 12, 11, 13, 9])
        for error, status in (
            (errors.Timeout("late"), 4),
            (errors.Unavailable("lost"), 16),
            (errors.TooLarge("large"), 11),
            (errors.failure("new", ""), 1),
            (ConfigurationError("wrong"), 2),
            (OSError(errno.EMFILE, "too many open files"), 1),
        ):
            self.client.error = error
            self.assertEqual(self.run_("a")[0], status)

    def test_oneLine(self) -> None:
        """A remote text with line breaks or control characters is written as one harmless line."""
        self.client.error = errors.failure(Code.APP_ERROR, "ValueError: a\nb\x1b[31m")
        self.assertEqual(self.run_("a")[2], "pirate-client: the app failed: ValueError: a b [31m\n")

    def test_interrupted(self) -> None:
        """Ctrl-C ends the command with one line and the status that a shell expects."""
        self.client.error = KeyboardInterrupt()
        self.assertEqual(self.run_("a"), (130, b"", "pirate-client: interrupted\n"))

    def test_brokenPipe(self) -> None:
        """A reader that closes standard output ends the command without a message."""
        self.assertEqual(self.run_("a", stdout=BrokenOutput(errno.EPIPE)), (141, b"", ""))

    def test_fullDisk(self) -> None:
        """Any other error of standard output is reported."""
        status, _, err = self.run_("a", stdout=BrokenOutput(errno.ENOSPC))
        self.assertEqual((status, err), (1, "pirate-client: cannot write to standard output: the disk is full\n"))

    def test_partialWrites(self) -> None:
        """An output that accepts a little at a time receives everything."""

        class Narrow(io.BytesIO):
            """An output that accepts two bytes at a time."""

            def write(self, data: Any) -> int:
                return super().write(data[:2])

        self.assertEqual(self.run_("abcdefg", stdout=Narrow()), (0, b"abcdefg\n", ""))

    def test_closedStreams(self) -> None:
        """Standard streams that are closed are named, before anything is sent."""
        for name in ("stdin", "stdout"):
            self.patch(sys, name, None)
            err = io.StringIO()
            streams: dict[str, Any] = {"stdin": io.BytesIO(b"a"), "stdout": io.BytesIO(), name: None}
            self.assertEqual(main([], stderr=err, **streams), 2)
            self.assertIn(f"standard {name.removeprefix('std')}put is closed", err.getvalue())
            self.assertEqual(self.client.asked, [])
