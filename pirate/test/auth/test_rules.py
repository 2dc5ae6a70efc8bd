# -*- test-case-name: pirate.test.auth.test_rules -*-
"""Tests of the access rules and of the replies to ZAP requests, without a socket."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from pirate.auth.rules import AddressRules, Refusal, SocketPolicy, ZapPolicy

KEY, OTHER = b"k" * 32, b"o" * 32


class OneUser:
    """The owners of keys: one user, who owns ``KEY``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def userOf(self, key: bytes) -> str | None:
        """Return the user if the key is the right one."""
        return self._name if key == KEY else None


class Refusals:
    """
    A log of refusals that keeps everything.

    :ivar logged: the reason and the detail of each.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.logged: list[tuple[str, str]] = []

    def count(self, reason: str, detail: str = "") -> None:
        """Keep a refusal."""
        self.counts[reason] += 1
        self.logged.append((reason, detail))

    def stop(self) -> None:
        """Do nothing: everything has been logged."""


class ZapPolicyTests(SynchronousTestCase):
    """Sockets with rules for keys, for addresses, and for both."""

    def setUp(self) -> None:
        """Make the policies."""
        self.refusals = Refusals()
        policies = {
            b"keys": SocketPolicy(users=OneUser("Älice")),
            b"addresses": SocketPolicy(AddressRules.fromTexts(("10.0.0.0/8",), ())),
            b"both": SocketPolicy(AddressRules.fromTexts((), ("10.0.0.0/8",)), OneUser("alice")),
        }
        self.policy = ZapPolicy(policies, self.refusals)

    def ask(self, domain: bytes, address: bytes, *mechanism: bytes) -> list[bytes]:
        """Return the status, its text, the user id and the metadata of a reply."""
        version, request, *rest = self.policy.answer([b"1.0", b"17", domain, address, b"", *mechanism])
        self.assertEqual((version, request), (b"1.0", b"17"))
        return rest

    def assertRefused(self, reason: Refusal, domain: bytes, address: bytes, *mechanism: bytes) -> None:
        """Check that a peer is refused, and that the reason is logged but not sent to the peer."""
        self.assertEqual(self.ask(domain, address, *mechanism), [b"400", b"not admitted", b"", b""])
        self.assertEqual(self.refusals.logged.pop(), (reason.value, f"the last one from {address.decode()}"))

    def test_key(self) -> None:
        """The owner of the key becomes the user id."""
        self.assertEqual(self.ask(b"keys", b"::1", b"CURVE", KEY), [b"200", b"OK", "Älice".encode(), b""])
        self.assertEqual(self.refusals.logged, [])

    def test_noKey(self) -> None:
        """Another key, an incomplete key, and another mechanism are refused."""
        self.assertRefused(Refusal.KEY, b"keys", b"::1", b"CURVE", OTHER)
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"CURVE", KEY[:-1])
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"CURVE", KEY, KEY)
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"CURVE")
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"NULL")
        self.assertRefused(Refusal.MECHANISM, b"keys", b"::1", b"PLAIN", b"admin", b"admin")

    def test_address(self) -> None:
        """Without keys the address decides, and there is no user id."""
        self.assertEqual(self.ask(b"addresses", b"::ffff:10.0.0.1", b"NULL"), [b"200", b"OK", b"", b""])
        self.assertRefused(Refusal.NOT_ALLOWED, b"addresses", b"127.0.0.1", b"NULL")
        self.assertRefused(Refusal.MECHANISM, b"addresses", b"10.0.0.1", b"PLAIN", b"admin", b"admin")
        self.assertRefused(Refusal.MECHANISM, b"addresses", b"10.0.0.1", b"CURVE", KEY)

    def test_both(self) -> None:
        """Both the key and the address must be admitted."""
        self.assertRefused(Refusal.DENIED, b"both", b"10.0.0.1", b"CURVE", KEY)
        self.assertRefused(Refusal.KEY, b"both", b"11.0.0.1", b"CURVE", OTHER)
        self.assertEqual(self.ask(b"both", b"11.0.0.1", b"CURVE", KEY)[0], b"200")

    def test_domain(self) -> None:
        """A socket without a policy admits no peer."""
        self.assertRefused(Refusal.DOMAIN, b"", b"::1", b"NULL")

    def test_nonsense(self) -> None:
        """A malformed request, and one of another version, get a reply, because libzmq waits for one."""
        for frames in ([], [b"1.0"], [b"1.0", b"1", b"keys", b"::1", b""], [b"2.0", b"1", b"keys", b"::1", b"", KEY]):
            answer = self.policy.answer(frames)
            self.assertEqual((answer[0], answer[2], len(answer)), (b"1.0", b"500", 6))
        self.assertRefused(Refusal.MECHANISM, b"keys", b"\xff".decode(errors="replace").encode(), b"\xff")

    def test_needed(self) -> None:
        """A policy that refuses no peer says so, so that no ZAP request is made."""
        policies = [
            SocketPolicy(),
            SocketPolicy(AddressRules.fromTexts(("::1",), ())),
            SocketPolicy(users=OneUser("x")),
        ]
        self.assertEqual([policy.refusesAny for policy in policies], [False, True, True])


class AddressRulesTests(SynchronousTestCase):
    """The rule of Net::Server."""

    def assertRule(self, addresses: AddressRules, cases: dict[str, Refusal | None]) -> None:
        """Check the refusal of each address; ``None`` admits it."""
        self.assertEqual({address: addresses.refusal(address) for address in cases}, cases)

    def test_none(self) -> None:
        """Without networks every address is admitted, even an unknown one."""
        self.assertFalse(AddressRules().refusesAny)
        self.assertRule(AddressRules(), {"192.0.2.7": None, "": None, "::1": None})

    def test_deny(self) -> None:
        """Only denied addresses are refused."""
        rule = AddressRules.fromTexts((), ("192.0.2.0/24", "2001:db8::/32"))
        self.assertTrue(rule.refusesAny)
        denied = dict.fromkeys(("192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7", "2001:db8::1"), Refusal.DENIED)
        self.assertRule(rule, {**denied, "192.0.3.0": None, "::1": None, "2001:db9::": None})

    def test_allow(self) -> None:
        """If any network is allowed, all other addresses are refused; a rule for IPv4 does not admit IPv6."""
        rule = AddressRules.fromTexts(("192.0.2.0/24", "::1"), ())
        allowed = dict.fromkeys(("192.0.2.1", "::ffff:192.0.2.1", "::1"))
        self.assertRule(rule, {**allowed, "127.0.0.1": Refusal.NOT_ALLOWED, "::2": Refusal.NOT_ALLOWED})

    def test_denyFirst(self) -> None:
        """A denied address is refused even if an allowed network contains it."""
        rule = AddressRules.fromTexts(("10.0.0.0/8",), ("10.1.0.0/16",))
        self.assertRule(rule, {"10.0.0.1": None, "10.1.0.1": Refusal.DENIED, "11.0.0.1": Refusal.NOT_ALLOWED})

    def test_everything(self) -> None:
        """A network of all IPv4 addresses admits no IPv6 address; a link-local address may have a zone."""
        rule = AddressRules.fromTexts(("0.0.0.0/0", "fe80::/10"), ())
        self.assertRule(rule, {"8.8.8.8": None, "fe80::1%eth0": None, "2001:db8::1": Refusal.NOT_ALLOWED})

    def test_socket(self) -> None:
        """Peers on a UNIX socket have no address and are admitted, as in Net::Server."""
        self.assertRule(AddressRules.fromTexts(("10.0.0.0/8",), ()), {"localhost:0:0:4711": None})

    def test_unknown(self) -> None:
        """With a rule, a text that is no address is refused."""
        rule = AddressRules.fromTexts((), ("10.0.0.0/8",))
        self.assertRule(rule, {"": Refusal.NO_ADDRESS, "nonsense": Refusal.NO_ADDRESS})
