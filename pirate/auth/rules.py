"""
Whom a server lets connect: the decision that ZeroMQ asks for by ZAP, RFC 27, and nothing else.

pyzmq's own ``Authenticator`` would need all of its decisions replaced: it knows exact addresses only, either a list of
the allowed or one of the denied, for all sockets alike, one list of keys that is read when it is told to, and
passwords, which it logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from pirate.settings.access import Refusal
from pirate.settings.addresses import Addresses

#: The ZAP domains, one for each socket.
FRONTEND, BACKEND = b"frontend", b"backend"
#: ZAP's version.
VERSION = b"1.0"
#: ZAP's words for yes, and for a no that is final: a client of libzmq does not ask again by itself.
OK, REFUSED = (b"200", b"OK"), b"400"
#: The mechanisms that are known here.
NULL, CURVE = b"NULL", b"CURVE"
#: The length of a key, in bytes.
KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class SocketPolicy:
    """
    One socket's rule.

    :ivar addresses: from where one may come.
    :ivar holder: the name of a key's holder, given the key, 32 bytes; ``None`` if it is nobody's.  The whole is
        ``None`` where no keys are asked for.
    :ivar revoked: names of those who may still be connected, but may not come in any more.
    :ivar secret: the socket's secret key, 40 bytes of Z85 text; empty where no keys are asked for.
    """

    addresses: Addresses = field(default_factory=Addresses)
    holder: Callable[[bytes], str | None] | None = None
    secret: bytes = b""
    revoked: Set[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether anybody is refused."""
        return self.holder is not None or bool(self.addresses)

    def enter(self, address: str, mechanism: bytes, credentials: Sequence[bytes]) -> str | Refusal:
        """
        Whether somebody may come in.

        :param address: as ZeroMQ tells it.
        :param credentials: of CURVE, one frame: the key, ``KEY_SIZE`` bytes.
        :return: the user's name, empty where no keys are asked for; or why not.
        """
        refusal = self.addresses.refusal(address)
        if refusal is not None:
            return refusal
        if self.holder is None:
            return "" if mechanism == NULL else Refusal.MECHANISM
        if mechanism != CURVE or len(credentials) != 1 or len(credentials[0]) != KEY_SIZE:
            return Refusal.MECHANISM
        name = self.holder(credentials[0])
        return Refusal.KEY if name is None else name


class ZapPolicy:
    """
    Answers ZAP's questions.

    :param policies: the rules, by ZAP domain.
    :param refused: called with the reason and the address, whenever somebody is refused.
    """

    def __init__(self, policies: Mapping[bytes, SocketPolicy], refused: Callable[[Refusal, str], None]) -> None:
        self._policies = policies
        self._refused = refused

    def answer(self, frames: Sequence[bytes]) -> list[bytes]:
        """
        ZAP's reply to a request.

        :param frames: version, request id, domain, address, identity (of the server's socket), mechanism, credentials.
        """
        request = frames[1] if len(frames) > 1 else b""
        if len(frames) < 6 or frames[0] != VERSION:
            return [VERSION, request, b"500", b"not a request of ZAP 1.0", b"", b""]
        address = frames[3].decode(errors="replace")
        policy = self._policies.get(frames[2])
        said = Refusal.DOMAIN if policy is None else policy.enter(address, frames[5], frames[6:])
        if isinstance(said, Refusal):
            self._refused(said, address)
            return [VERSION, request, REFUSED, b"not admitted", b"", b""]
        return [VERSION, request, *OK, said.encode(), b""]
