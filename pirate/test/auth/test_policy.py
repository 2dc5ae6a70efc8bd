# -*- test-case-name: pirate.test.auth.test_policy -*-
"""Keys that come and go, on a clock."""

from __future__ import annotations

from typing import Any

import zmq
from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from zmq.utils import z85

from pirate.auth.keyring import FRESH, Keyring
from pirate.auth.keys import loadPair, loadPublic, toText, writePair
from pirate.auth.policy import AccessPolicy
from pirate.errors import ConfigurationError
from pirate.settings.settings import Settings
from pirate.test.support.keys import KeyCase


class Events(Logger):
    """
    A log that is kept.

    :ivar events: its messages, formatted.
    """

    def __init__(self) -> None:
        keep: Any = self._keep
        super().__init__(namespace="pirate", observer=keep)
        self.events: list[str] = []

    def _keep(self, event: dict[str, Any]) -> None:
        self.events.append(formatEvent(event))


class RingCase(KeyCase):
    """A folder of keys, a clock and a log."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.clock = Clock()
        self.log = Events()

    def key(self, name: str) -> bytes:
        """A new key, 32 bytes, whose certificate is in the folder."""
        return bytes(z85.decode(loadPublic(writePair(self.folder, name)[0])))


class KeyringTests(RingCase):
    """What is read, and when."""

    def setUp(self) -> None:
        """One key."""
        super().setUp()
        self.alice = self.key("alice")
        self.ring = Keyring(self.clock, self.log, "curve-clients", str(self.folder))

    def test_holder(self) -> None:
        """A key's holder is known, another's is not."""
        self.assertEqual(self.ring.holder(self.alice), "alice")
        self.assertEqual(self.ring.holder(bytes(32)), None)

    def test_appears(self) -> None:
        """A key counts as soon as the files have been looked at again, and they are not looked at all the time."""
        bob = self.key("bob")
        self.assertEqual(self.ring.holder(bob), None)
        self.clock.advance(FRESH)
        self.assertEqual(self.ring.holder(bob), "bob")
        self.assertEqual(self.log.events, ["curve-clients: 2 keys"])

    def test_goes(self) -> None:
        """So does one that is gone, or another under the old name."""
        (self.folder / "alice.key").unlink()
        self.clock.advance(FRESH)
        self.assertEqual(self.ring.holder(self.alice), None)
        (self.folder / "alice.key_secret").unlink()
        again = self.key("alice")
        self.clock.advance(FRESH)
        self.assertEqual(self.ring.holder(again), "alice")

    def test_revoked(self) -> None:
        """Who has no key any more is remembered, until there is one again; who has another key is not cut off."""
        self.key("bob")
        (self.folder / "bob.key").rename(self.folder / "old.key")
        (self.folder / "bob.key_secret").unlink()
        bob = self.key("bob")
        self.ring.read()
        for name in ("old", "alice"):
            (self.folder / f"{name}.key").unlink()
        self.ring.read()
        self.assertEqual((self.ring.revoked, self.ring.holder(bob)), ({"alice"}, "bob"))
        (self.folder / "alice.key_secret").unlink()
        self.key("alice")
        self.ring.read()
        self.assertEqual(self.ring.revoked, set())

    def test_told(self) -> None:
        """When told to, it reads at once."""
        bob = self.key("bob")
        self.ring.read()
        self.assertEqual(self.ring.holder(bob), "bob")

    def test_broken(self) -> None:
        """What cannot be read changes nothing, is logged once, and is read as soon as it is mended."""
        broken = self.write("carol.key", "")
        bob = self.key("bob")
        for _ in range(3):
            self.clock.advance(FRESH)
            self.assertEqual((self.ring.holder(self.alice), self.ring.holder(bob)), ("alice", None))
        self.assertEqual(len(self.log.events), 1)
        self.assertIn(f"curve-clients: the old keys stay: {broken}: there is no public-key in it", self.log.events[0])
        broken.unlink()
        self.clock.advance(FRESH)
        self.assertEqual(self.ring.holder(bob), "bob")

    def test_start(self) -> None:
        """At the start, what cannot be read is refused."""
        told = self.refused(Keyring, self.clock, self.log, "curve-workers", str(self.folder / "none"))
        self.assertEqual(told, f"curve-workers: {self.folder / 'none'}: No such file or directory")


class GuardTests(RingCase):
    """The rules that settings make."""

    def guard(self, **given: Any) -> AccessPolicy:
        """A guard."""
        return AccessPolicy(self.clock, self.log, Settings(**given))

    def secret(self) -> str:
        """The path of the server's own certificate, outside of the folder of those who may come in."""
        (self.folder / "own").mkdir()
        return str(writePair(self.folder / "own", "server")[1])

    def status(self, guard: AccessPolicy, domain: bytes, *credentials: bytes) -> tuple[bytes, bytes]:
        """ZAP's status and user id."""
        answer = guard.answer([b"1.0", b"1", domain, b"127.0.0.1", b"", *credentials])
        return answer[2], answer[4]

    def test_open(self) -> None:
        """A server on its own machine needs no guard: nobody is asked anything, and children need no keys."""
        guard = self.guard()
        self.assertFalse(guard.frontend or guard.backend)
        self.assertEqual(guard.introduce(b"child_1_x"), {})
        guard.forget({})
        guard.read()

    def test_addresses(self) -> None:
        """Addresses count for clients only."""
        guard = self.guard(deny=("127.0.0.0/8",))
        self.assertTrue(guard.frontend)
        self.assertFalse(guard.backend)
        self.assertEqual(self.status(guard, b"frontend", b"NULL"), (b"400", b""))
        self.assertEqual(guard.refused.counts, {"address-denied": 1})
        self.assertEqual(self.log.events, ["peers refused: address-denied (1); the last one from 127.0.0.1"])

    def test_keys(self) -> None:
        """Clients need a listed key; workers one of their own, which nobody else knows."""
        alice = self.key("alice")
        guard = self.guard(curveSecret=self.secret(), curveClients=str(self.folder))
        self.assertEqual(self.status(guard, b"frontend", b"CURVE", alice), (b"200", b"alice"))
        self.assertEqual(self.status(guard, b"backend", b"CURVE", alice), (b"400", b""))
        keys = guard.introduce(b"child_1_x")
        child = bytes(z85.decode(keys["public"].encode()))
        self.assertEqual(zmq.curve_public(keys["secret"].encode()).decode(), keys["public"])
        self.assertEqual(keys["server"].encode(), loadPublic(self.folder / "own" / "server.key"))
        self.assertEqual(self.status(guard, b"backend", b"CURVE", child), (b"200", b"child_1_x"))
        self.assertEqual(self.status(guard, b"frontend", b"CURVE", child), (b"400", b""))
        guard.forget(keys)
        self.assertEqual(self.status(guard, b"backend", b"CURVE", child), (b"400", b""))

    def test_external(self) -> None:
        """External workers have a list of their own, which admits nobody as a client."""
        remote = self.key("remote")
        guard = self.guard(
            curveSecret=self.secret(), curveClients="*", curveWorkers=str(self.folder), externalWorkers=True
        )
        self.assertEqual(self.status(guard, b"backend", b"CURVE", remote), (b"200", b"remote"))
        self.assertEqual(self.status(guard, b"backend", b"CURVE", bytes(32)), (b"400", b""))
        # Any key may call, and its holder is known by it.
        self.assertEqual(self.status(guard, b"frontend", b"CURVE", remote), (b"200", toText(remote)))

    def test_socketOfOurOwn(self) -> None:
        """Our own workers on a UNIX socket need no keys; clients do."""
        guard = self.guard(curveSecret=self.secret(), curveClients=str(self.folder), backend=("ipc:///b",))
        self.assertEqual((bool(guard.frontend), bool(guard.backend), guard.backend.secret), (True, False, b""))

    def test_read(self) -> None:
        """A reload reads both lists; the server's own key is read once."""
        secret = self.secret()
        guard = self.guard(curveSecret=secret, curveClients=str(self.folder))
        pair = loadPair(secret)
        (self.folder / "own" / "server.key_secret").unlink()
        bob = self.key("bob")
        guard.read()
        self.assertEqual(self.status(guard, b"frontend", b"CURVE", bob), (b"200", b"bob"))
        self.assertEqual(guard.frontend.secret, pair[1])

    def test_refused(self) -> None:
        """What is wrong with a file is told with the setting that names it."""
        told = str(self.assertRaises(ConfigurationError, self.guard, curveSecret="/none", curveClients="*"))
        self.assertEqual(told, "curve-secret: /none: No such file or directory")
        told = str(self.assertRaises(ConfigurationError, self.guard, curveSecret=self.secret(), curveClients="/none"))
        self.assertEqual(told, "curve-clients: /none: No such file or directory")
