# -*- test-case-name: pirate.test.test_types -*-
"""The types of the public surface, as a type checker sees them where it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pirate

ROOT = Path(pirate.__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"

#: Code that passes: the types of replies.
RIGHT = """
import math
from typing import Any

from pirate.client import AsyncClient, CallError, Client, Executor, TwistedClient


class Words:
    def encode(self, values: tuple[Any, ...]) -> list[bytes]:
        return [value.encode() for value in values]

    def decode(self, frames: Any) -> str:
        return bytes(frames[0]).decode()


def one(client: Client) -> bytes:
    return client.call(b"x")

def several() -> list[bytes]:
    with Client(6660, codec="frames", timeout=2) as client:
        return client.call(b"x")

def value() -> Any:
    return Client(codec="json").call({"width": 1})

def own() -> str:
    return Client(codec=Words()).submit("x").result()

def batch(client: Client[bytes]) -> list[bytes]:
    return list(client.map([b"x"], ordered=False))

def errors(client: Client[bytes]) -> list[bytes | CallError]:
    return list(client.map([b"x"], return_exceptions=True))

def parts() -> bytes:
    return b"".join(Client().stream(b"x"))

def job() -> bytes:
    return Executor().submit(b"x").result()

def root() -> float:
    return Executor(codec="pickle").submit(math.sqrt, 2.0).result()

async def waiting(client: AsyncClient) -> bytes:
    async for reply in client.map([b"x"], progress=print):
        return reply
    return await client.call(b"x")

async def deferred(reactor: Any) -> list[bytes]:
    client = TwistedClient(reactor, codec="frames")
    return await client.call(b"x")
"""

#: Lines that fail, each with the error that mypy reports.
WRONG = {
    "Client(tiemout=2)": "call-overload",
    "Client(timeout='2')": "call-overload",
    "Client(codec='jsn')": "call-overload",
    "AsyncClient(tiemout=2)": "call-overload",
    "Executor(tiemout=2)": "call-overload",
    "TwistedClient(None, tiemout=2)": "call-overload",
    "Client().call(b'x', sevice='y')": "call-arg",
    "Client().call(b'x').encode()": "attr-defined",
    "JobServer(None, fontend=6660, backend=6661, app='a.b')": "call-arg",
    "JobServer(None, frontend=6660, backend=6661, app='a.b', prefetch='2')": "arg-type",
    "PoolLimits(maxServer=2)": "call-arg",
}


class TypeTests(SynchronousTestCase):
    """Types of the public surface, checked by mypy."""

    def check(self, *arguments: str) -> tuple[int, list[str]]:
        """
        Run mypy in its strictest mode, which tolerates calls into libraries without types, as Twisted has them.

        :return: its exit status, and its lines.
        """
        if find_spec("mypy") is None:
            raise SkipTest("mypy is not installed")
        # In trial's working directory, so that the tests of one run share it.
        options = [
            "--strict",
            "--allow-untyped-calls",
            "--config-file=",
            "--no-error-summary",
            "--cache-dir=mypy-cache",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, *arguments],
            env={**os.environ, "MYPYPATH": f"{EXAMPLES}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]

    def test_examples(self) -> None:
        """The examples of the documentation pass."""
        if not EXAMPLES.is_dir():
            raise SkipTest("the documentation is not installed")
        self.assertEqual(self.check(*map(str, sorted(EXAMPLES.glob("*.py")))), (0, []))

    def test_replies(self) -> None:
        """A client's codec decides the type of its replies."""
        self.assertEqual(self.check("-c", RIGHT), (0, []))

    def test_wrong(self) -> None:
        """A misspelt argument fails, and so does a value of a wrong type."""
        imports = (
            "from pirate.client import AsyncClient, Client, Executor, TwistedClient\n"
            "from pirate.service import JobServer\n"
            "from pirate.settings import PoolLimits\n"
        )
        status, lines = self.check("-c", imports + "\n".join(WRONG))
        first = imports.count("\n") + 1
        found = {number: kind for number, kind in (parsed(line) for line in lines if ": error: " in line)}
        expected = dict(enumerate(WRONG.values(), first))
        self.assertEqual((status, found), (1, expected), "\n".join(lines))


def parsed(line: str) -> tuple[int, str]:
    """Return the number of a line with an error, and the kind of the error."""
    return int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")
