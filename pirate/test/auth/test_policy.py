# -*- test-case-name: pirate.test.auth.test_policy -*-
"""Tests of keyrings and of the access policy, on a clock."""

from __future__ import annotations

from typing import Any

import zmq
from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from zmq.utils import z85

from pirate.auth.keygen import writePair
from pirate.auth.keyring import CHECK_INTERVAL, Keyring
from pirate.auth.keys import loadPair, loadPublic, toText
from pirate.auth.policy import AccessPolicy
from pirate.errors import ConfigurationError
from pirate.server.logs import RateLimitedLog
from pirate.settings.settings import Settings
from pirate.test.support.keys import KeyCase


class Events(Logger):
    """
    A log that keeps its messages.

    :ivar events: its messages, formatted.
    """

    def __init__(self) -> None:
        keep: Any = self._keep
        super().__init__(namespace="pirate", observer=keep)
        self.events: list[str] = []

    def _keep(self, event: dict[str, Any]) -> None:
        self.events.append(formatEvent(event))


class RingCase(KeyCase):
    """A test case with a folder of keys, a clock and a log."""

    def setUp(self) -> None:
        """Make the clock and the log."""
        super().setUp()
        self.clock = Clock()
        self.log = Events()

    def key(self, name: str) -> bytes:
        """Write a new pair into the folder, and return its public key of 32 bytes."""
        return bytes(z85.decode(loadPublic(writePair(self.folder, name)[0])))


class KeyringTests(RingCase):
    """Keys that appear, disappear and change."""

    def setUp(self) -> None:
        """Make a keyring with one key."""
        super().setUp()
        self.alice = self.key("alice")
        self.ring = Keyring(self.clock, self.log, "curve-clients", str(self.folder))

    def test_userOf(self) -> None:
        """The user of a listed key is known, and no other."""
        self.assertEqual(self.ring.userOf(self.alice), "alice")
        self.assertEqual(self.ring.userOf(bytes(32)), None)

    def test_added(self) -> None:
        """A new key is admitted after the check interval, not at once."""
        bob = self.key("bob")
        self.assertEqual(self.ring.userOf(bob), None)
        self.clock.advance(CHECK_INTERVAL)
        self.assertEqual(self.ring.userOf(bob), "bob")
        self.assertEqual(self.log.events, ["curve-clients: 2 keys"])

    def test_removed(self) -> None:
        """A removed key is not admitted any more, and a new key under the old name is."""
        (self.folder / "alice.key").unlink()
        self.clock.advance(CHECK_INTERVAL)
        self.assertEqual(self.ring.userOf(self.alice), None)
        (self.folder / "alice.key_secret").unlink()
        again = self.key("alice")
        self.clock.advance(CHECK_INTERVAL)
        self.assertEqual(self.ring.userOf(again), "alice")

    def test_revoked(self) -> None:
        """A user that has lost the last key is revoked until there is a key again; one with another key is not."""
        self.key("bob")
        (self.folder / "bob.key").rename(self.folder / "old.key")
        (self.folder / "bob.key_secret").unlink()
        bob = self.key("bob")
        self.ring.read()
        for name in ("old", "alice"):
            (self.folder / f"{name}.key").unlink()
        self.ring.read()
        self.assertEqual((self.ring.revoked, self.ring.userOf(bob)), ({"alice"}, "bob"))
        (self.folder / "alice.key_secret").unlink()
        self.key("alice")
        self.ring.read()
        self.assertEqual(self.ring.revoked, set())

    def test_read(self) -> None:
        """``read`` reads the keys at once."""
        bob = self.key("bob")
        self.ring.read()
        self.assertEqual(self.ring.userOf(bob), "bob")

    def test_broken(self) -> None:
        """An unreadable key changes nothing and is logged once; the keys are read again once it is repaired."""
        broken = self.write("carol.key", "")
        bob = self.key("bob")
        for _ in range(3):
            self.clock.advance(CHECK_INTERVAL)
            self.assertEqual((self.ring.userOf(self.alice), self.ring.userOf(bob)), ("alice", None))
        self.assertEqual(len(self.log.events), 1)
        self.assertIn(f"curve-clients: the old keys stay: {broken}: it contains no public-key", self.log.events[0])
        broken.unlink()
        self.clock.advance(CHECK_INTERVAL)
        self.assertEqual(self.ring.userOf(bob), "bob")

    def test_start(self) -> None:
        """At the start an unreadable key is an error."""
        message = self.refused(Keyring, self.clock, self.log, "curve-workers", str(self.folder / "none"))
        self.assertEqual(message, f"curve-workers: {self.folder / 'none'}: No such file or directory")


class AccessPolicyTests(RingCase):
    """The rules that settings lead to."""

    def makePolicy(self, **given: Any) -> AccessPolicy:
        """Make the access policy of some settings."""
        refused = RateLimitedLog(self.clock, self.log, "peers refused")
        return AccessPolicy(self.clock, self.log, Settings(**given), refused)

    def secret(self) -> str:
        """Write the server's own pair beside the clients' keys, and return the path of its secret certificate."""
        (self.folder / "own").mkdir()
        return str(writePair(self.folder / "own", "server")[1])

    def status(self, policy: AccessPolicy, domain: bytes, *credentials: bytes) -> tuple[bytes, bytes]:
        """Return the status and the user id of a ZAP reply."""
        answer = policy.answer([b"1.0", b"1", domain, b"127.0.0.1", b"", *credentials])
        return answer[2], answer[4]

    def test_open(self) -> None:
        """Without keys and networks no ZAP request is made, and children need no keys."""
        policy = self.makePolicy()
        self.assertFalse(policy.frontend.refusesAny or policy.backend.refusesAny)
        self.assertEqual(policy.issue(b"child_1_x"), {})
        policy.revoke({})
        policy.readKeys()

    def test_addresses(self) -> None:
        """Address rules apply to clients only."""
        policy = self.makePolicy(deny=("127.0.0.0/8",))
        self.assertTrue(policy.frontend.refusesAny)
        self.assertFalse(policy.backend.refusesAny)
        self.assertEqual(self.status(policy, b"frontend", b"NULL"), (b"400", b""))
        self.assertEqual(policy.refused.counts, {"address-denied": 1})
        self.assertEqual(self.log.events, ["peers refused: address-denied (1); the last one from 127.0.0.1"])

    def test_keys(self) -> None:
        """Clients need a listed key; each child has a key of its own, which is admitted while the child lives."""
        alice = self.key("alice")
        policy = self.makePolicy(curveSecret=self.secret(), curveClients=str(self.folder))
        self.assertEqual(self.status(policy, b"frontend", b"CURVE", alice), (b"200", b"alice"))
        self.assertEqual(self.status(policy, b"backend", b"CURVE", alice), (b"400", b""))
        keys = policy.issue(b"child_1_x")
        child = bytes(z85.decode(keys["public"].encode()))
        self.assertEqual(zmq.curve_public(keys["secret"].encode()).decode(), keys["public"])
        self.assertEqual(keys["server"].encode(), loadPublic(self.folder / "own" / "server.key"))
        self.assertEqual(self.status(policy, b"backend", b"CURVE", child), (b"200", b"child_1_x"))
        self.assertEqual(self.status(policy, b"frontend", b"CURVE", child), (b"400", b""))
        policy.revoke(keys)
        self.assertEqual(self.status(policy, b"backend", b"CURVE", child), (b"400", b""))

    def test_external(self) -> None:
        """The keys of external workers are listed apart, and admit no client."""
        remote = self.key("remote")
        policy = self.makePolicy(
            curveSecret=self.secret(), curveClients="*", curveWorkers=str(self.folder), externalWorkers=True
        )
        self.assertEqual(self.status(policy, b"backend", b"CURVE", remote), (b"200", b"remote"))
        self.assertEqual(self.status(policy, b"backend", b"CURVE", bytes(32)), (b"400", b""))
        # With any key admitted, the key is the user.
        self.assertEqual(self.status(policy, b"frontend", b"CURVE", remote), (b"200", toText(remote)))

    def test_unixBackend(self) -> None:
        """Children on a UNIX socket need no keys; clients do."""
        policy = self.makePolicy(curveSecret=self.secret(), curveClients=str(self.folder), backend=("ipc:///b",))
        self.assertEqual(
            (policy.frontend.refusesAny, policy.backend.refusesAny, policy.backend.secret), (True, False, b"")
        )

    def test_readKeys(self) -> None:
        """``readKeys`` reads the listed keys; the server's own key is read only once."""
        secret = self.secret()
        policy = self.makePolicy(curveSecret=secret, curveClients=str(self.folder))
        pair = loadPair(secret)
        (self.folder / "own" / "server.key_secret").unlink()
        bob = self.key("bob")
        policy.readKeys()
        self.assertEqual(self.status(policy, b"frontend", b"CURVE", bob), (b"200", b"bob"))
        self.assertEqual(policy.frontend.secret, pair[1])

    def test_refused(self) -> None:
        """An error in a file names the setting that names the file."""
        message = str(self.assertRaises(ConfigurationError, self.makePolicy, curveSecret="/none", curveClients="*"))
        self.assertEqual(message, "curve-secret: /none: No such file or directory")
        message = str(
            self.assertRaises(ConfigurationError, self.makePolicy, curveSecret=self.secret(), curveClients="/none")
        )
        self.assertEqual(message, "curve-clients: /none: No such file or directory")
