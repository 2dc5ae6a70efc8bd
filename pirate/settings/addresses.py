"""The networks that the settings ``allow`` and ``deny`` name."""

from __future__ import annotations

import ipaddress

from pirate.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: The number of bits before the IPv4 address in an IPv4-mapped IPv6 address.
_MAPPED_BITS = 96


def canonicalNetwork(given: str) -> str:
    """
    Return a network in the form in which :mod:`ipaddress` writes it.

    :param given: an address, or a network in CIDR notation; an IPv4 one may be written as IPv6 (``::ffff:192.0.2.1``).
    :raise ConfigurationError: if the text is neither.
    """
    return str(toNetwork(given))


def toNetwork(given: str) -> Network:
    """
    Parse a network.

    :param given: the same as for :func:`canonicalNetwork`.
    :raise ConfigurationError: if the text does not name a network.
    """
    text = str(given).strip()
    if "%" in text:
        raise ConfigurationError(f"{text!r} has a zone, but a rule applies to all zones: remove the % and what follows")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            near = ipaddress.ip_network(text, strict=False)
            reason = f"has bits beyond its prefix: {near} is the network, {text.partition('/')[0]} the address"
        else:
            reason = "must be an address or a network, as in 192.0.2.0/24 or 2001:db8::/32; names are not looked up"
        raise ConfigurationError(f"{text!r} {reason}") from None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
