# -*- test-case-name: pirate.test.settings.test_addresses -*-
"""Networks that may call, and networks that may not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.settings.access import Refusal
from pirate.settings.addresses import Addresses, parseNetwork


class NetworkTests(SynchronousTestCase):
    """What names a network."""

    def test_forms(self) -> None:
        """An address is a network of one; an IPv4 network that is written as IPv6 is the IPv4 one."""
        for given, found in (
            ("192.0.2.7", "192.0.2.7/32"),
            (" 192.0.2.0/24 ", "192.0.2.0/24"),
            ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ):
            self.assertEqual(parseNetwork(given), found)

    def test_refused(self) -> None:
        """A name, a range or nothing is none; bits beyond the length are pointed out, with both that may be meant."""
        for given in ("localhost", "192.0.2", "192.0.2.0-9", "192.0.2.0/33", "[::1]", "192.0.2.1:80", "*", ""):
            told = str(self.assertRaises(ConfigurationError, parseNetwork, given))
            self.assertIn(f"{given!r} must be an address or a network", told)
        told = str(self.assertRaises(ConfigurationError, parseNetwork, "10.1.2.3/8"))
        self.assertIn("10.0.0.0/8 is the network, 10.1.2.3 the address", told)

    def test_zone(self) -> None:
        """A zone in a rule would not be looked at, and so let in its namesakes on other links: it is refused."""
        for given in ("fe80::1%eth0", "fe80::%eth0/64"):
            told = str(self.assertRaises(ConfigurationError, parseNetwork, given))
            self.assertIn(f"{given!r} has a zone", told)


class RuleTests(SynchronousTestCase):
    """Net::Server's rule."""

    def assertRule(self, addresses: Addresses, cases: dict[str, Refusal | None]) -> None:
        """Each address is refused for this reason, or not at all."""
        self.assertEqual({address: addresses.refusal(address) for address in cases}, cases)

    def test_none(self) -> None:
        """Without a rule everybody may come, also from where nobody knows."""
        self.assertFalse(Addresses())
        self.assertRule(Addresses(), {"192.0.2.7": None, "": None, "::1": None})

    def test_deny(self) -> None:
        """Who is denied is refused, and nobody else."""
        rule = Addresses.fromTexts((), ("192.0.2.0/24", "2001:db8::/32"))
        self.assertTrue(rule)
        denied = dict.fromkeys(("192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7", "2001:db8::1"), Refusal.DENIED)
        self.assertRule(rule, {**denied, "192.0.3.0": None, "::1": None, "2001:db9::": None})

    def test_allow(self) -> None:
        """If somebody is allowed, all others are refused, IPv6 by a rule for IPv4 included."""
        rule = Addresses.fromTexts(("192.0.2.0/24", "::1"), ())
        allowed = dict.fromkeys(("192.0.2.1", "::ffff:192.0.2.1", "::1"))
        self.assertRule(rule, {**allowed, "127.0.0.1": Refusal.NOT_ALLOWED, "::2": Refusal.NOT_ALLOWED})

    def test_denyFirst(self) -> None:
        """A denied one stays so, even if an allowed network holds it."""
        rule = Addresses.fromTexts(("10.0.0.0/8",), ("10.1.0.0/16",))
        self.assertRule(rule, {"10.0.0.1": None, "10.1.0.1": Refusal.DENIED, "11.0.0.1": Refusal.NOT_ALLOWED})

    def test_everything(self) -> None:
        """All of IPv4 is not all of IPv6; a link's own address has a zone."""
        rule = Addresses.fromTexts(("0.0.0.0/0", "fe80::/10"), ())
        self.assertRule(rule, {"8.8.8.8": None, "fe80::1%eth0": None, "2001:db8::1": Refusal.NOT_ALLOWED})

    def test_socket(self) -> None:
        """Peers on a UNIX socket have no address, and are exempt, as Net::Server has it."""
        self.assertRule(Addresses.fromTexts(("10.0.0.0/8",), ()), {"localhost:0:0:4711": None})

    def test_unknown(self) -> None:
        """With a rule, an address that is none is refused."""
        rule = Addresses.fromTexts((), ("10.0.0.0/8",))
        self.assertRule(rule, {"": Refusal.NO_ADDRESS, "nonsense": Refusal.NO_ADDRESS})
