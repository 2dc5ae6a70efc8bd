# -*- test-case-name: pirate.test.integration.test_client_use -*-
"""Tests of the use of the blocking client: arguments, threads, forks, the end of the program; and the examples."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import zmq
from twisted.trial.unittest import SkipTest

from pirate.auth.keygen import writePair
from pirate.auth.keys import loadPair
from pirate.client import Client, MisuseError
from pirate.errors import ConfigurationError
from pirate.pickled import app
from pirate.test.support.program import ROOT
from pirate.test.support.scripted import (
    PATIENCE,
    ClientCase,
    Script,
    ScriptedBroker,
    echo,
    native,
    silent,
)
from pirate.wire.words import Code
from pirate.worker.app import Context


class UseTests(ClientCase):
    """Arguments, threads, forks and the end of a program."""

    def test_arguments(self) -> None:
        """Invalid arguments raise an error before anything is opened or sent."""
        self.assertRaises(ConfigurationError, Client, "nowhere")
        self.assertRaises(ConfigurationError, Client, timeout=0)
        self.assertRaises(ConfigurationError, Client, attempts=-1)
        self.assertRaises(ConfigurationError, Client, identity=b"")
        self.assertRaises(ConfigurationError, Client, "ipc:///" + "x" * 200)
        client = self.client(self.refused())
        self.assertRaises(ConfigurationError, client.call, b"x", timeout=-1)
        self.assertRaises(TypeError, client.call)

    def test_closed(self) -> None:
        """A closed client raises MisuseError; closing it again does nothing."""
        client = self.client(self.refused())
        with client:
            self.assertNotIn("closed", repr(client))
        client.close()
        self.assertIn("closed", repr(client))
        self.assertIn("closed", str(self.assertRaises(MisuseError, client.call, b"x")))

    def test_secondThread(self) -> None:
        """A second thread that calls during a call gets its reply first; then the first gets its own."""
        replies = queue.Queue[object]()
        held: list[list[bytes]] = []

        def lastFirst(frames: list[bytes]) -> list[list[bytes]]:
            held.insert(0, frames)
            return held if len(held) == 2 else []

        broker = self.broker(lastFirst)
        client = self.client(broker.endpoint)
        thread = threading.Thread(target=lambda: replies.put(client.call(b"x")))
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        broker.next()
        self.assertEqual(client.call(b"y"), b"y")
        self.assertEqual(replies.get(timeout=PATIENCE), b"x")

    def test_fork(self) -> None:
        """A forked child has connections of its own, and the parent's work before and after its end."""
        code = """
import os, sys, threading
from pirate.client import Client
with Client(sys.argv[1], timeout=30) as client:
    client.call(b"before")
    waiting = threading.Thread(target=client.call, args=(b"wait",))
    waiting.start()
    while not client._driver._leading.locked():
        pass
    idle = os.fork()
    if not idle:
        client.close()
        os._exit(0)
    os.waitpid(idle, 0)
    child = os.fork()
    if not child:
        print(client.call(b"child"), client.submit(b"future").result(), flush=True)
    else:
        print(client.call(b"parent"), os.waitpid(child, 0)[1], client.call(b"after"), flush=True)
        waiting.join()
"""
        held: list[list[bytes]] = []

        def patient(frames: list[bytes]) -> list[list[bytes]]:
            if frames[-1] == b"wait":
                held.append(frames)
                return []
            return [frames, *held] if frames[-1] == b"after" else [frames]

        broker = self.broker(patient)
        # Later Pythons warn of a fork in a process with ZeroMQ's threads.
        run = self.program("-W", "ignore", "-c", code, broker.endpoint)
        out, err = run.communicate(timeout=PATIENCE)
        self.assertEqual(err, b"")
        self.assertEqual(set(out.splitlines()), {b"b'child' b'future'", b"b'parent' 0 b'after'"})

    def test_forgotten(self) -> None:
        """Clients that are collected without being closed leave only a warning, and block nothing."""
        code = """
import asyncio, gc, os, sys, warnings
from pirate.client import AsyncClient, CallError, Client
async def ask(endpoint):
    try:
        await AsyncClient(endpoint, timeout=0.01).call(b"x")
    except CallError:
        pass
asyncio.run(ask(sys.argv[1]))
gc.collect()
before = len(os.listdir("/proc/self/fd"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(10):
        Client(sys.argv[1])
        asyncio.run(ask(sys.argv[1]))
    gc.collect()
print(len(os.listdir("/proc/self/fd")) - before, sum("was not closed" in str(each.message) for each in told))
"""
        process = self.program("-W", "ignore", "-c", code, self.refused())
        self.assertEqual(process.communicate(timeout=PATIENCE), (b"0 20\n", b""))

    def test_exit(self) -> None:
        """A program that did not close its client ends."""
        code = """
import sys
from pirate.client import Client, Timeout
client = Client(sys.argv[1])
try:
    client.call(b"x", timeout=0.05)
except Timeout:
    print("given up")
"""
        for endpoint in (self.refused(), self.broker(silent).endpoint):
            out, _ = self.program("-c", code, endpoint).communicate(timeout=PATIENCE)
            self.assertEqual(out, b"given up\n")


def answering(*said: list[bytes]) -> Script:
    """Send parts, and then a reply."""

    def answer(frames: list[bytes]) -> list[list[bytes]]:
        request = native(frames)
        return [*(request.part(each) for each in said[:-1]), request.reply(said[-1])]

    return answer


def shouting(frames: list[bytes]) -> list[list[bytes]]:
    """Return the request in capital letters."""
    request = native(frames)
    return [request.reply([frame.upper() for frame in request.body])]


def calling(frames: list[bytes]) -> list[list[bytes]]:
    """Run pickled calls."""
    request = native(frames)
    return [request.reply(app(*request.body, context=Context(b"", {"client": "::1"}, lambda: False)))]


def failing(frames: list[bytes]) -> list[list[bytes]]:
    """Fail as an app does."""
    return [native(frames).error(Code.APP_ERROR, "ValueError: only digits, please")]


#: What each example is answered with, and what it prints then.
EXAMPLES: dict[str, tuple[Script, bytes, bytes]] = {
    "blocking": (echo, b"b'Ahoy!'\n", b""),
    "many": (shouting, b"b'ONE'\nb'TWO'\nb'THREE'\n[b'FIVE', b'FOUR']\n", b""),
    "executor": (echo, b"b'Ahoy!'\n", b""),
    "pickle": (calling, b"[1, 1, 2, 6, 24]\n", b""),
    "twisted": (echo, b"b'Ahoy!'\n", b""),
    "asyncio": (echo, b"b'Ahoy!'\n", b""),
    "stream": (answering([b"3"], [b"2"], [b"1"], [b""]), b"b'3'\nb'2'\nb'1'\n", b""),
    "errors": (failing, b"the app raised ValueError only digits, please\n", b""),
    "trace": (echo, b"b'Ahoy!'\n", b"ok 00- True\n"),
    "several": (echo, b"b'Ahoy!'\n", b""),
    "json": (echo, b"{'width': 100}\n", b""),
    "curve": (echo, b"b'Ahoy!'\n", b""),
}


class ExampleTests(ClientCase):
    """The examples of the documentation."""

    def test_examples(self) -> None:
        """Each example of a client prints what it should, and every example is tested."""
        folder = ROOT / "docs" / "examples"
        if not folder.exists():
            raise SkipTest("the documentation is not here")
        self.assertEqual({path.stem.removeprefix("client_") for path in folder.glob("client_*.py")}, set(EXAMPLES))
        keys = Path(self.mktemp())
        keys.mkdir()
        writePair(keys, "me")
        public, secret = loadPair(writePair(keys, "server")[1])
        options: dict[int, int | bytes] = {
            zmq.CURVE_SERVER: 1,
            zmq.CURVE_PUBLICKEY: public,
            zmq.CURVE_SECRETKEY: secret,
        }
        running = {}
        for name, (script, _, _) in EXAMPLES.items():
            broker = ScriptedBroker(script, options=options if name == "curve" else None)
            self.addCleanup(broker.close)
            running[name] = self.program(str(folder / f"client_{name}.py"), broker.endpoint, cwd=str(keys))
        for name, (_, out, err) in EXAMPLES.items():
            self.assertEqual(running[name].communicate(timeout=PATIENCE), (out, err), name)
