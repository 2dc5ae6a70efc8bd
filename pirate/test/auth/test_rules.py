# -*- test-case-name: pirate.test.auth.test_rules -*-
"""Answers to ZAP's questions, without a socket."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.auth.rules import SocketPolicy, ZapPolicy
from pirate.settings.access import Refusal
from pirate.settings.addresses import Addresses

KEY, OTHER = b"k" * 32, b"o" * 32


class AdmissionTests(SynchronousTestCase):
    """Two doors, of which one asks for keys and the other for addresses."""

    def setUp(self) -> None:
        """Make them."""
        self.refused: list[tuple[str, str]] = []
        policies = {
            b"keys": SocketPolicy(holder={KEY: "Älice"}.get),
            b"addresses": SocketPolicy(Addresses.fromTexts(("10.0.0.0/8",), ())),
            b"both": SocketPolicy(Addresses.fromTexts((), ("10.0.0.0/8",)), {KEY: "alice"}.get),
        }
        self.admission = ZapPolicy(policies, lambda reason, address: self.refused.append((reason, address)))

    def ask(self, domain: bytes, address: bytes, *mechanism: bytes) -> list[bytes]:
        """Ask, and check that the answer is for this question."""
        version, request, *rest = self.admission.answer([b"1.0", b"17", domain, address, b"", *mechanism])
        self.assertEqual((version, request), (b"1.0", b"17"))
        return rest

    def assertRefused(self, reason: Refusal, domain: bytes, address: bytes, *mechanism: bytes) -> None:
        """Somebody is refused for this reason, which they are not told."""
        self.assertEqual(self.ask(domain, address, *mechanism), [b"400", b"not admitted", b"", b""])
        self.assertEqual(self.refused.pop(), (reason, address.decode()))

    def test_key(self) -> None:
        """The holder's name is the user id."""
        self.assertEqual(self.ask(b"keys", b"::1", b"CURVE", KEY), [b"200", b"OK", "Älice".encode(), b""])
        self.assertEqual(self.refused, [])

    def test_noKey(self) -> None:
        """Another key, half a key, or something else than a key, opens nothing."""
        self.assertRefused(Refusal.KEY, b"keys", b"::1", b"CURVE", OTHER)
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"CURVE", KEY[:-1])
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"CURVE", KEY, KEY)
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"CURVE")
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"NULL")
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"PLAIN", b"admin", b"admin")

    def test_address(self) -> None:
        """Where there are no keys, it is the address that counts; nobody has a name."""
        self.assertEqual(self.ask(b"addresses", b"::ffff:10.0.0.1", b"NULL"), [b"200", b"OK", b"", b""])
        self.assertRefused(Refusal.NOT_ALLOWED, b"addresses", b"127.0.0.1", b"NULL")
        self.assertRefused(Refusal.MECHANISM, b"addresses", b"10.0.0.1", b"PLAIN", b"admin", b"admin")
        self.assertRefused(Refusal.MECHANISM, b"addresses", b"10.0.0.1", b"CURVE", KEY)

    def test_both(self) -> None:
        """A good key does not help at a bad address, nor the other way."""
        self.assertRefused(Refusal.DENIED, b"both", b"10.0.0.1", b"CURVE", KEY)
        self.assertRefused(Refusal.KEY, b"both", b"11.0.0.1", b"CURVE", OTHER)
        self.assertEqual(self.ask(b"both", b"11.0.0.1", b"CURVE", KEY)[0], b"200")

    def test_domain(self) -> None:
        """A socket that nobody has given a rule lets nobody in."""
        self.assertRefused(Refusal.DOMAIN, b"", b"::1", b"NULL")

    def test_nonsense(self) -> None:
        """What is no question of this version gets an answer all the same, for somebody waits for it."""
        for frames in ([], [b"1.0"], [b"1.0", b"1", b"keys", b"::1", b""], [b"2.0", b"1", b"keys", b"::1", b"", KEY]):
            answer = self.admission.answer(frames)
            self.assertEqual((answer[0], answer[2], len(answer)), (b"1.0", b"500", 6))
        self.assertRefused(Refusal.MECHANISM, b"keys", b"\xff".decode(errors="replace").encode(), b"\xff")

    def test_needed(self) -> None:
        """A door that refuses nobody need not be asked."""
        policies = [
            SocketPolicy(),
            SocketPolicy(Addresses.fromTexts(("::1",), ())),
            SocketPolicy(holder={KEY: "x"}.get),
        ]
        self.assertEqual(list(map(bool, policies)), [False, True, True])
