# -*- test-case-name: pirate.test.client.test_client -*-
"""Tests of the public surface of the client: its signatures, and what importing it loads."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from inspect import Parameter, signature
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate import client
from pirate.client.options import ClientOptions, OptionArguments
from pirate.test.support.program import environmentWith


class SignatureTests(SynchronousTestCase):
    """The arguments of the clients."""

    def test_constructors(self) -> None:
        """All clients take the same keyword arguments, with the types of ``OptionArguments`` and the same defaults."""
        expected = {name: each.__forward_arg__ for name, each in OptionArguments.__annotations__.items()}
        for name in ("Client", "AsyncClient", "Executor", "TwistedClient"):
            shown = dict(signature(getattr(client, name)).parameters)
            self.assertEqual(shown.pop("endpoint").default, "tcp://127.0.0.1:6660", name)
            self.assertEqual(shown.pop("reactor", None) is not None, name == "TwistedClient", name)
            self.assertEqual(shown.pop("codec").default, "bytes", name)
            self.assertEqual({each.name: each.annotation for each in shown.values()}, expected, name)
            self.assertEqual({each.kind for each in shown.values()}, {Parameter.KEYWORD_ONLY}, name)
            defaults = {each.name: each.default for each in shown.values()}
            self.assertEqual(defaults.pop("timeout"), 3600 if name == "Executor" else 10, name)
            checked = {each.name: each.default for each in signature(ClientOptions).parameters.values()}
            self.assertEqual(defaults, {each: checked[each] for each in defaults}, name)

    def test_map(self) -> None:
        """``map`` takes the same arguments, with the same defaults, in every client."""
        expected = signature(client.Client.map).parameters
        for each in (client.AsyncClient, client.TwistedClient):
            self.assertEqual(signature(each.map).parameters, expected)

    def test_misspelt(self) -> None:
        """A misspelt argument is rejected by its name."""
        wrong: Any = {"tiemout": 2}
        for make in (client.Client, client.AsyncClient, client.Executor, partial(client.TwistedClient, None)):
            self.assertIn("unexpected keyword argument 'tiemout'", str(self.assertRaises(TypeError, make, **wrong)))


class ImportTests(SynchronousTestCase):
    """The cost of importing the client."""

    def test_light(self) -> None:
        """Neither Twisted nor txZMQ is loaded, nor a slow part of the standard library that pyzmq does not load."""
        heavy = {"twisted", "txzmq", "dataclasses", "inspect", "asyncio", "logging"}
        code = (
            "import sys, zmq; before = {*sys.modules}; import pirate.commands.client; "
            f"print(*{heavy!r} & {{*sys.modules}} - before)"
        )
        run = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(run, env=environmentWith({}), capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout.strip(), done.stderr), ("", ""))
