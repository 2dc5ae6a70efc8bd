"""On what terms a client calls: its arguments, checked, and the calls made from them.  All faces share it."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from pirate.client import arguments
from pirate.client.call import Call
from pirate.client.codecs import Codec, codec
from pirate.client.connection import Dialer
from pirate.client.outage import Outage
from pirate.errors import ConfigurationError

#: Seconds that a call may take, unless it is told otherwise.
TIMEOUT = 10.0
#: How many times a request is sent at most, unless it is told otherwise.
ATTEMPTS = 2

#: A server's public key, and a client's own pair: each a file, or the keys themselves.
Curve = tuple[Any, Any]


class ClientOptions:
    """
    What all faces take.

    :param endpoint: where the servers are: see ``Client``.
    :raise ConfigurationError: if something is not right.
    :ivar endpoints: where the servers are, each in its one form.
    :ivar plain: whether requests go without a header.
    """

    def __init__(
        self,
        endpoint: str | int | Iterable[str | int],
        *,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        identity: bytes | None = None,
        plain: bool = False,
        curve: Curve | None = None,
        codec: str | Codec = "bytes",
        before: Callable[[Call], str | None] | None = None,
        after: Callable[[Call], object] | None = None,
        outage: Callable[[Outage], object] | None = None,
    ) -> None:
        self.endpoints = arguments.endpoints(endpoint)
        self.plain = plain
        self.curve = None if curve is None else keys(curve)
        self._timeout = arguments.seconds(timeout)
        self._attempts = arguments.attempts(attempts)
        self._identity = arguments.identity(identity)
        self._before = before
        self._after = after
        self._outage = outage
        self.codec = _codec(codec)
        self._encode = self.codec.encode if isinstance(codec, str) else self._encodeWith(self.codec)
        self._decode = self.codec.decode
        self._where = " or ".join(self.endpoints)

    @staticmethod
    def _encodeWith(codec: Codec) -> Callable[[tuple[Any, ...]], list[bytes]]:
        # What is no frame would be found only by whoever sends it, in the middle of a message.
        return lambda values: arguments.body(tuple(codec.encode(values)))

    def dialer(self) -> Dialer:
        """What opens the client's sockets."""
        return Dialer(self.plain, self._identity, self.curve)

    def newCall(
        self, values: tuple[Any, ...], timeout: float | None = None, service: str = "", trace: str = ""
    ) -> Call:
        """
        A call that begins now.

        :raise ConfigurationError: if its time or its service is not right.
        :raise TypeError: if its values are not.
        """
        if self.plain and (service or trace):
            name, value = ("service", service) if service else ("trace", trace)
            raise ConfigurationError(f"{name} {value!r} is not right: a plain request cannot carry one")
        call = Call(
            self._encode(values),
            now=monotonic(),
            timeout=self._timeout if timeout is None else arguments.seconds(timeout),
            attempts=self._attempts,
            endpoint=self._where,
            key=b"" if self.plain else os.urandom(16),
            service=arguments.service(service) if service else "",
            trace=arguments.trace(trace) if trace else "",
        )
        if self._before is not None:
            call.trace = arguments.trace(self._before(call) or trace)
        return call

    def newPing(self, timeout: float | None) -> Call:
        """A call that asks a server how it is."""
        if self.plain:
            raise ConfigurationError("a plain client cannot ping: only a server that knows our header answers")
        seconds = self._timeout if timeout is None else arguments.seconds(timeout)
        key = os.urandom(16)
        return Call([b""], now=monotonic(), timeout=seconds, attempts=1, endpoint=self._where, key=key, command="ping")

    def requestId(self, value: bytes) -> bytes:
        """
        The id of a request that is to be cancelled.

        :raise ConfigurationError: if it is none.
        """
        if self.plain:
            raise ConfigurationError("a plain client cannot cancel by id: plain requests have none")
        return arguments.request(value)

    def tellOutage(self, outage: Outage) -> None:
        """Tell the user that calls wait for a connection, or need not any more."""
        if self._outage is not None:
            try:
                self._outage(outage)
            except Exception as error:
                # It is called amid the work of other calls, which have nothing to do with it.
                warnings.warn(f"the outage callback failed: {error!r}", RuntimeWarning, stacklevel=2)

    def conclude(self, call: Call) -> Any:
        """
        What a call that has ended gives its caller.

        :raise CallError: if it is not a reply.
        """
        if self._after is not None:
            self._after(call)
        if call.error is not None:
            raise call.error
        return self._decode(call.answer.body)  # type: ignore[union-attr]

    def part(self, frames: list[bytes]) -> Any:
        """What a part of a reply gives the caller."""
        return self._decode(frames)


def _codec(value: str | Codec) -> Codec:
    return codec(value)


def keys(curve: Curve) -> tuple[bytes, bytes, bytes]:
    """
    The keys for a CURVE connection.

    :param curve: the server's public key: the path of its certificate, or 40 bytes of Z85 text; and the client's own
        pair: the path of a certificate with a secret key, or the public and the secret key.
    :return: the server's public key, the client's, and the client's secret key.
    :raise ConfigurationError: if it is not so.
    """
    from pirate.auth.keys import loadPair, loadPublic

    try:
        server, pair = curve
    except (TypeError, ValueError):
        raise ConfigurationError("curve is not right: give the server's public key, and a pair of your own") from None
    public, secret = pair if isinstance(pair, tuple) else loadPair(pair)
    found = (server if isinstance(server, bytes) else loadPublic(server), public, secret)
    if not all(isinstance(key, bytes) and len(key) == 40 for key in found):
        raise ConfigurationError("curve is not right: a key is a file, or 40 bytes of Z85 text")
    return found


def addresses(endpoint: str, found: Iterable[Any] | None = None) -> list[str]:
    """
    The endpoints behind a name: one for each of its addresses.

    A name with one address is left to ZeroMQ, which looks it up again whenever it connects.  IPv6 addresses count only
    where there are no others.

    :param found: what ``getaddrinfo`` says of it; without, it is asked, which may block.
    """
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not isName(endpoint):
        return [endpoint]
    if found is None:
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError:
            # It may be known later.
            return [endpoint]
    several = dict.fromkeys((family, address[0]) for family, _, _, _, address in found)
    four = [f"tcp://{host}:{port}" for family, host in several if family == socket.AF_INET]
    six = [f"tcp://[{host}]:{port}" for family, host in several if family == socket.AF_INET6]
    return (four or six) if len(four or six) > 1 else [endpoint]


def isName(endpoint: str) -> bool:
    """Whether an endpoint has a name that is to be looked up."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return endpoint.startswith("tcp://") and not host.startswith("[") and not host.replace(".", "").isdecimal()
