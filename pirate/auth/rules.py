"""
The decision whether a peer may connect, as ZeroMQ asks for it by ZAP (RFC 27).

pyzmq's ``Authenticator`` does not fit: it knows exact addresses only, as one list for all sockets; it reads keys only
when told to; and it logs passwords.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pirate.settings.addresses import Network, toNetwork

#: The ZAP domain of each socket.
FRONTEND, BACKEND = b"frontend", b"backend"
#: The version of ZAP.
VERSION = b"1.0"
#: The status that admits a peer, and the one that refuses it for good: libzmq does not connect again by itself.
OK, REFUSED = (b"200", b"OK"), b"400"
#: The security mechanisms that a policy can admit.
NULL, CURVE = b"NULL", b"CURVE"
#: The length of a binary key, in bytes.
BINARY_KEY_SIZE = 32


class Refusal(StrEnum):
    """A reason to refuse a connection."""

    #: The address is in ``deny``.
    DENIED = "address-denied"
    #: ``allow`` is set, and the address is not in it.
    NOT_ALLOWED = "address-not-allowed"
    #: ``deny`` or ``allow`` is set, and ZeroMQ does not know the address.
    NO_ADDRESS = "address-unknown"
    #: The key is not listed.
    KEY = "unknown-key"
    #: The socket requires CURVE and the peer does not use it, or the other way round.
    MECHANISM = "wrong-mechanism"
    #: The ZAP domain is not that of a socket of this server.
    DOMAIN = "unknown-domain"


class Users(Protocol):
    """The owners of public keys."""

    def userOf(self, key: bytes) -> str | None:
        """
        Return the user that owns a key, or ``None`` if the key is not listed.

        :param key: the public key, ``BINARY_KEY_SIZE`` bytes.
        """


class RefusalLog(Protocol):
    """A log that counts refused connections; the server has :class:`~pirate.server.logs.RateLimitedLog`."""

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of refused connections, by reason."""

    def count(self, reason: str, detail: str = "") -> None:
        """
        Count one refused connection.

        :param reason: a :class:`Refusal`.
        :param detail: more about this connection, for the log.
        """

    def stop(self) -> None:
        """Log what has been counted but not logged yet."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """
    The networks from which clients may connect; the rule is that of Net::Server.

    An address in ``deny`` is refused.  If ``allow`` is not empty, every address outside of it is refused as well.
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()

    @classmethod
    def fromTexts(cls, allow: Iterable[str], deny: Iterable[str]) -> AddressRules:
        """
        Make rules from texts such as ``192.0.2.0/24``.

        :raise ConfigurationError: if a text does not name a network.
        """
        return cls(tuple(map(toNetwork, allow)), tuple(map(toNetwork, deny)))

    @property
    def refusesAny(self) -> bool:
        """Whether any address is refused."""
        return bool(self.allow or self.deny)

    def refusal(self, address: str) -> Refusal | None:
        """
        Return the reason to refuse an address, or ``None`` to admit it.

        :param address: the address as ZeroMQ reports it.  A peer on a UNIX socket has none, but
            ``localhost:uid:gid:pid``; it is admitted, because the mode of the socket decides who may connect.
        """
        if not self.refusesAny or address.startswith("localhost"):
            return None
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return Refusal.NO_ADDRESS
        plain = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped else parsed
        if any(plain in network for network in self.deny):
            return Refusal.DENIED
        if self.allow and not any(plain in network for network in self.allow):
            return Refusal.NOT_ALLOWED
        return None


@dataclass(frozen=True, slots=True)
class SocketPolicy:
    """
    The access rules of one socket.

    :ivar addresses: the networks from which peers may connect.
    :ivar users: the owners of the keys that are admitted; ``None`` if the socket does not require keys.
    :ivar secret: the secret key of the socket, 40 bytes of Z85 text; empty if the socket does not require keys.
    :ivar revoked: the users that have lost their last key, and whose connections may still be open.  The keyring
        changes this set while the server runs, so keep the set and do not copy it.
    """

    addresses: AddressRules = field(default_factory=AddressRules)
    users: Users | None = None
    secret: bytes = b""
    revoked: Set[str] = frozenset()

    @property
    def refusesAny(self) -> bool:
        """Whether any peer is refused."""
        return self.users is not None or self.addresses.refusesAny

    def admit(self, address: str, mechanism: bytes, credentials: Sequence[bytes]) -> str | Refusal:
        """
        Decide whether to admit a peer.

        :param address: the address as ZeroMQ reports it.
        :param credentials: the frames of the mechanism; for CURVE one, the public key of ``BINARY_KEY_SIZE`` bytes.
        :return: the user, which is empty if the socket does not require keys; or the reason to refuse the peer.
        """
        refusal = self.addresses.refusal(address)
        if refusal is not None:
            return refusal
        if self.users is None:
            return "" if mechanism == NULL else Refusal.MECHANISM
        if mechanism != CURVE or len(credentials) != 1 or len(credentials[0]) != BINARY_KEY_SIZE:
            return Refusal.MECHANISM
        user = self.users.userOf(credentials[0])
        return Refusal.KEY if user is None else user


class ZapPolicy:
    """
    The reply to each ZAP request.

    :param policies: the rules of each socket, by ZAP domain.
    :param refusals: counts the refused peers.
    """

    def __init__(self, policies: Mapping[bytes, SocketPolicy], refusals: RefusalLog) -> None:
        self._policies = policies
        self._refusals = refusals

    def answer(self, frames: Sequence[bytes]) -> list[bytes]:
        """
        Return the ZAP reply to a ZAP request.

        :param frames: the version, the request id, the domain, the address, the identity of the server's socket, the
            mechanism, and the frames of its credentials.
        """
        request = frames[1] if len(frames) > 1 else b""
        if len(frames) < 6 or frames[0] != VERSION:
            return [VERSION, request, b"500", b"not a request of ZAP 1.0", b"", b""]
        address = frames[3].decode(errors="replace")
        policy = self._policies.get(frames[2])
        decision = Refusal.DOMAIN if policy is None else policy.admit(address, frames[5], frames[6:])
        if isinstance(decision, Refusal):
            self._refusals.count(decision.value, f"the last one from {address}")
            return [VERSION, request, REFUSED, b"not admitted", b"", b""]
        return [VERSION, request, *OK, decision.encode(), b""]
