# -*- test-case-name: pirate.test.settings.test_addresses -*-
"""Tests of the networks that settings name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.settings.addresses import canonicalNetwork


class NetworkTests(SynchronousTestCase):
    """Texts that name a network."""

    def test_forms(self) -> None:
        """An address is a network of one address; an IPv4-mapped IPv6 network is an IPv4 network."""
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
            self.assertEqual(canonicalNetwork(given), found)

    def test_refused(self) -> None:
        """A host name, a range and an empty text are refused; bits beyond the prefix get a message of their own."""
        for given in ("localhost", "192.0.2", "192.0.2.0-9", "192.0.2.0/33", "[::1]", "192.0.2.1:80", "*", ""):
            message = str(self.assertRaises(ConfigurationError, canonicalNetwork, given))
            self.assertIn(f"{given!r} must be an address or a network", message)
        message = str(self.assertRaises(ConfigurationError, canonicalNetwork, "10.1.2.3/8"))
        self.assertIn("10.0.0.0/8 is the network, 10.1.2.3 the address", message)

    def test_zone(self) -> None:
        """A zone is refused: it would be ignored, and so admit the same address on another link."""
        for given in ("fe80::1%eth0", "fe80::%eth0/64"):
            message = str(self.assertRaises(ConfigurationError, canonicalNetwork, given))
            self.assertIn(f"{given!r} has a zone", message)
