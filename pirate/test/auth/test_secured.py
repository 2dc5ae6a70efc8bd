# -*- test-case-name: pirate.test.auth.test_secured -*-
"""Tests of a server that requires keys, without sockets."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from zmq.utils import z85

from pirate.auth.keygen import writePair
from pirate.auth.keys import loadPublic
from pirate.errors import ConfigurationError
from pirate.service import JobServer, ServerState
from pirate.settings.limits import PoolLimits
from pirate.test.support.keys import KeyCase
from pirate.testing import TestBed


class SecuredTests(KeyCase):
    """The whole server on a test bed."""

    def setUp(self) -> None:
        """Make keys and a test bed."""
        super().setUp()
        self.clients = self.folder / "clients"
        self.clients.mkdir()
        self.secret = writePair(self.folder, "server")[1]
        writePair(self.clients, "alice")
        self.bed = TestBed()
        self.events = self.enterContext(capturedLogs())

    def make(self, **given: Any) -> JobServer:
        """Make a server."""
        return JobServer(
            self.bed.reactor,
            transport=self.bed.makeTransport,
            limits=PoolLimits(minServers=2, maxServers=2),
            **{"curveSecret": self.secret, "curveClients": self.clients, **given},
        )

    def begin(self, server: JobServer) -> None:
        """Start a server."""
        server.startService()
        self.bed.reactor.run()
        self.bed.reactor.advance(0)

    def status(self, domain: bytes, key: str) -> bytes:
        """Return the ZAP status for a key."""
        raw = z85.decode(key.encode())
        return self.bed.transports[-1].answer([b"1.0", b"1", domain, b"::1", b"", b"CURVE", raw])[2]

    def test_privileged(self) -> None:
        """All keys are read with privileges; if a reload cannot read them, the old keys stay and an error is logged."""
        server = self.make()
        server.privilegedStartService()
        alice = loadPublic(self.clients / "alice.key").decode()
        self.secret.unlink()
        for each in self.clients.iterdir():
            each.unlink()
        self.clients.rmdir()
        self.begin(server)
        server.reload()
        self.assertEqual(self.status(b"frontend", alice), b"200")
        lines = [formatEvent(event) for event in self.events]
        self.assertIn(f"curve-clients: the old keys stay: {self.clients}: No such file or directory", lines)

    def test_refused(self) -> None:
        """Unreadable keys are an error before there is a transport, and the server can be started later."""
        self.secret.chmod(0o604)
        server = self.make()
        self.assertIn("has mode 0604", str(self.assertRaises(ConfigurationError, server.startService)))
        self.assertEqual((server.state, self.bed.transports), (ServerState.STOPPED, []))
        self.secret.chmod(0o600)
        self.begin(server)
        self.assertEqual(server.state, ServerState.RUNNING)

    def test_children(self) -> None:
        """Each child gets keys of its own with its configuration, which are admitted while it lives."""
        server = self.make()
        self.begin(server)
        configs = [worker.config.keys for worker in self.bed.workers]
        self.assertEqual({config["server"] for config in configs}, {loadPublic(self.secret).decode()})
        self.assertEqual(len({config["secret"] for config in configs}), 2)
        for config in configs:
            self.assertEqual(self.status(b"backend", config["public"]), b"200")
            self.assertEqual(self.status(b"frontend", config["public"]), b"400")
        self.bed.workers[0].process.end()
        self.bed.reactor.advance(0)
        self.assertEqual([self.status(b"backend", config["public"]) for config in configs], [b"400", b"200"])
        self.assertEqual(server.stats()["refused"], {"unknown-key": 3})

    def test_noKeys(self) -> None:
        """Without keys children get none, and neither socket requires any."""
        self.begin(self.make(curveSecret=None, curveClients=None))
        self.assertEqual([worker.config.keys for worker in self.bed.workers], [{}, {}])
        self.assertEqual([policy.refusesAny for policy in self.bed.transports[-1].policies], [False, False])
