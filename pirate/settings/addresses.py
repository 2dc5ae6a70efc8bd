"""Who may call, by address: networks that are allowed, and networks that are denied."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from pirate.errors import ConfigurationError
from pirate.settings.access import Refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: How many bits stand before an IPv4 address in an IPv6 one.
_MAPPED_BITS = 96


def parseNetwork(given: str) -> str:
    """
    A network, as ``ipaddress`` writes it.

    :param given: an address or a network in CIDR notation; an IPv4 one may be written as IPv6 (``::ffff:192.0.2.1``).
    :raise ConfigurationError: if it is neither.
    """
    return str(_network(given))


def _network(given: str) -> Network:
    text = str(given).strip()
    if "%" in text:
        raise ConfigurationError(f"{text!r} has a zone, but a rule holds in all of them: leave out what follows the %")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            near = ipaddress.ip_network(text, strict=False)
            reason = f"has bits beyond its length: {near} is the network, {text.partition('/')[0]} the address"
        else:
            reason = "must be an address or a network, as in 192.0.2.0/24 or 2001:db8::/32; names are not looked up"
        raise ConfigurationError(f"{text!r} {reason}") from None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


@dataclass(frozen=True, slots=True)
class Addresses:
    """
    Net::Server's rule: who is denied is refused; then, if anybody is allowed by name, all others are refused.

    :ivar allow: networks; empty: everybody.
    :ivar deny: networks.
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()

    @classmethod
    def fromTexts(cls, allow: Iterable[str], deny: Iterable[str]) -> Addresses:
        """
        The same from texts.

        :raise ConfigurationError: if one is no network.
        """
        return cls(tuple(map(_network, allow)), tuple(map(_network, deny)))

    def __bool__(self) -> bool:
        """Whether anybody is refused."""
        return bool(self.allow or self.deny)

    def refusal(self, address: str) -> Refusal | None:
        """
        Why an address is refused; ``None`` if it is not.

        :param address: as ZeroMQ tells it.  A peer on a UNIX socket, ``localhost:uid:gid:pid``, has none, and is not
            asked for one: its socket's mode says who may connect.
        """
        if not self or address.startswith("localhost"):
            return None
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return Refusal.NO_ADDRESS
        bare = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped else parsed
        if any(bare in network for network in self.deny):
            return Refusal.DENIED
        if self.allow and not any(bare in network for network in self.allow):
            return Refusal.NOT_ALLOWED
        return None
