"""The options of a client: what each may be, and the calls that are made with them.  All APIs share this module."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypedDict

from pirate.client.call import Call
from pirate.client.codecs import Codec, Reply, newCodec, toFrames
from pirate.client.connection import Dialer
from pirate.client.endpoints import Outage
from pirate.client.environment import ClientEnvironment
from pirate.errors import ConfigurationError
from pirate.wire.words import MAX_SERVICE

#: The endpoint of a server with default settings.
DEFAULT_ENDPOINT = "tcp://127.0.0.1:6660"
#: The default timeout of a call, in seconds.
TIMEOUT = 10.0
#: How many times a request is sent at most, by default.
ATTEMPTS = 2
#: The longest timeout, in seconds: the header can carry no more.
MAX_TIMEOUT = 1e9
#: The largest number of attempts.
MAX_ATTEMPTS = 1000
#: The longest traceparent, in characters: the header can carry no more.
MAX_TRACE = 512
#: The longest identity, in bytes: ZeroMQ's 255, less room for the number that a replaced socket appends.
MAX_IDENTITY = 240
#: The most calls of one batch in flight.
MAX_CONCURRENCY = 100_000

_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")

#: A server's public key, and the client's own key pair: each a file, or the keys themselves.
Curve = tuple[Any, Any]
#: One endpoint, or several that are equally good.
EndpointArgument = str | int | Iterable[str | int]


class OptionArguments(TypedDict, total=False):
    """The keyword arguments of all clients but ``codec``; :class:`~pirate.client.blocking.Client` documents them."""

    timeout: float
    attempts: int
    identity: bytes | None
    plain: bool
    curve: Curve | None
    before: Callable[[Call], str | None] | None
    after: Callable[[Call], object] | None
    outage: Callable[[Outage], object] | None


class ClientOptions(Generic[Reply]):
    """
    The checked arguments of a client.

    :param endpoint: the servers; this and the other parameters are those of :class:`~pirate.client.blocking.Client`.
    :param environment: the client's environment; ``None``: the real ones.
    :raise ConfigurationError: if an argument is invalid.
    :ivar endpoints: the servers, each as a ZeroMQ endpoint.
    :ivar plain: whether requests have no header.
    :ivar codec: encodes requests and decodes replies.
    :ivar environment: the client's environment.
    """

    def __init__(
        self,
        endpoint: EndpointArgument,
        codec: str | Codec[Reply],
        *,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        identity: bytes | None = None,
        plain: bool = False,
        curve: Curve | None = None,
        before: Callable[[Call], str | None] | None = None,
        after: Callable[[Call], object] | None = None,
        outage: Callable[[Outage], object] | None = None,
        environment: ClientEnvironment | None = None,
    ) -> None:
        self.environment = environment or ClientEnvironment()
        self.endpoints = canonicalEndpoints(endpoint)
        self.plain = plain
        self.curve = None if curve is None else loadKeys(curve)
        self.codec: Codec[Reply] = newCodec(codec)
        self._builtInCodec = isinstance(codec, str)
        self._timeout = checkTimeout(timeout)
        self._attempts = checkAttempts(attempts)
        self._identity = checkIdentity(identity)
        self._before = before
        self._after = after
        self._outage = outage
        self._anyEndpoint = " or ".join(self.endpoints)

    def newDialer(self) -> Dialer:
        """Return an object that opens the client's sockets."""
        return self.environment.newDialer(self.plain, self._identity, self.curve)

    def newCall(
        self,
        values: tuple[Any, ...],
        done: Callable[[Call], object],
        timeout: float | None = None,
        service: str = "",
        trace: str = "",
        part: Callable[[list[bytes]], object] | None = None,
    ) -> Call:
        """
        Return a call that begins now.

        :param values: what the codec encodes.
        :param done: called with the call when it ends.
        :param part: called with the frames of each part of the reply; ``None`` to take no parts.
        :raise ConfigurationError: if the timeout, the service or the trace is invalid.
        :raise TypeError: if a value is.
        """
        if self.plain and (service or trace):
            name, value = ("service", service) if service else ("trace", trace)
            raise ConfigurationError(f"invalid {name} {value!r}: a plain request has no header to carry it")
        body = self.codec.encode(values)
        call = Call(
            # A codec of the user's own may return what is no frame, which would fail in the middle of a message.
            body if self._builtInCodec else toFrames(tuple(body)),
            now=self.environment.clock(),
            timeout=self._timeout if timeout is None else checkTimeout(timeout),
            attempts=self._attempts,
            done=done,
            part=part,
            endpoint=self._anyEndpoint,
            request=b"" if self.plain else self.environment.secret(16),
            service=checkService(service) if service else "",
            trace=checkTrace(trace) if trace else "",
        )
        if self._before is not None:
            call.trace = checkTrace(self._before(call) or trace)
        return call

    def newPing(self, done: Callable[[Call], object], timeout: float | None) -> Call:
        """
        Return a call that pings a server.

        :raise ConfigurationError: if the timeout is invalid, or the client is plain.
        """
        if self.plain:
            raise ConfigurationError("a plain client cannot ping: a ping needs the header")
        return Call(
            [b""],
            now=self.environment.clock(),
            timeout=self._timeout if timeout is None else checkTimeout(timeout),
            attempts=1,
            done=done,
            endpoint=self._anyEndpoint,
            request=self.environment.secret(16),
            command="ping",
        )

    def requestId(self, value: bytes) -> bytes:
        """
        Return the id of a request to cancel.

        :raise ConfigurationError: if it is invalid, or the client is plain.
        """
        if self.plain:
            raise ConfigurationError("a plain client cannot cancel by id: its requests have none")
        return checkRequestId(value)

    def reportOutage(self, outage: Outage) -> None:
        """Call the user's ``outage``, if there is one; warn if it raises."""
        if self._outage is not None:
            try:
                self._outage(outage)
            except Exception as error:
                # It runs amid the work for other calls, which must go on.
                warnings.warn(f"the outage callback failed: {error!r}", RuntimeWarning, stacklevel=2)

    def runAfter(self, call: Call) -> None:
        """
        Call the user's ``after``, if there is one, for a call that has ended.

        :raise CallError: if it ended in an error.
        """
        if self._after is not None:
            self._after(call)
        if call.error is not None:
            raise call.error

    def conclude(self, call: Call) -> Reply:
        """
        Return the decoded reply of a call that has ended, after the work of :meth:`runAfter`.

        :raise CallError: if it ended in an error.
        :raise ValueError: if the codec cannot decode the reply.
        """
        if self._after is not None:
            self._after(call)
        if call.error is not None:
            raise call.error
        return self.codec.decode(call.reply.body)  # type: ignore[union-attr]


def canonicalEndpoint(value: str | int) -> str:
    """
    Return the endpoint of a server as ZeroMQ writes it.

    :param value: a port of the loopback interface (``6660`` or ``"6660"``), ``host:port``, ``tcp://host:port`` or
        ``ipc://path``.
    :raise ConfigurationError: if it is none of these.
    """
    text = str(value).strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", f"127.0.0.1:{text}" if text.isdecimal() else text
    if text.isprintable() and " " not in text and _isAddress(scheme, rest):
        return f"{scheme}://{rest}"
    raise ConfigurationError(f"invalid endpoint {value!r}: use a port (6660), host:port, tcp://host:port or ipc://path")


def canonicalEndpoints(value: EndpointArgument) -> tuple[str, ...]:
    """
    Return several endpoints as ZeroMQ writes them, each once.

    :param value: what :func:`canonicalEndpoint` takes, or an iterable of it.
    :raise ConfigurationError: if one is invalid, or there is none.
    """
    isOne = isinstance(value, (str, bytes)) or not isinstance(value, Iterable)
    several: tuple[Any, ...] = (value,) if isOne else tuple(value)  # type: ignore[arg-type]
    found = tuple(dict.fromkeys(canonicalEndpoint(each) for each in several))
    if not found:
        raise ConfigurationError("invalid endpoint []: use at least one")
    return found


def isLocal(endpoint: str) -> bool:
    """Return whether an endpoint is on this machine, so that nothing passes over a network."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return endpoint.startswith("ipc://") or host in ("localhost", "::1") or _LOOPBACK.fullmatch(host) is not None


def isName(endpoint: str) -> bool:
    """Return whether an endpoint has a host name, which must be looked up."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return endpoint.startswith("tcp://") and not host.startswith("[") and not host.replace(".", "").isdecimal()


def resolve(endpoint: str, found: Iterable[Any] | None = None) -> list[str]:
    """
    Return an endpoint for each address of a host name.

    A name with one address is left to ZeroMQ, which looks it up again whenever it connects.  IPv6 addresses count only
    if there are no others.

    :param found: the result of ``getaddrinfo``; ``None`` to call it, which may block.
    """
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not isName(endpoint):
        return [endpoint]
    if found is None:
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError:
            # The name may become known later.
            return [endpoint]
    several = dict.fromkeys((family, address[0]) for family, _, _, _, address in found)
    four = [f"tcp://{host}:{port}" for family, host in several if family == socket.AF_INET]
    six = [f"tcp://[{host}]:{port}" for family, host in several if family == socket.AF_INET6]
    return (four or six) if len(four or six) > 1 else [endpoint]


def _isAddress(scheme: str, rest: str) -> bool:
    if scheme != "tcp":
        return scheme == "ipc" and rest != ""
    host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        return False
    return host.startswith("[") and host.endswith("]") if ":" in host else host != "*" and _isHost(host)


def _isHost(host: str) -> bool:
    # Anything that is not formed like a name makes the look-up fail with errors of its own.
    return host.isascii() and all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


def loadKeys(curve: Curve) -> tuple[bytes, bytes, bytes]:
    """
    Return the keys for a CURVE connection.

    :param curve: the server's public key, as the path of its certificate or 40 bytes of Z85 text; and the client's own
        pair, as the path of a certificate with a secret key or a tuple of the public and the secret key.
    :return: the server's public key, the client's public key, and the client's secret key.
    :raise ConfigurationError: if a key is missing or invalid.
    """
    from pirate.auth.keys import loadPair, loadPublic

    try:
        server, pair = curve
    except (TypeError, ValueError):
        raise ConfigurationError(
            "invalid curve: use a tuple of the server's public key and your own key pair"
        ) from None
    public, secret = pair if isinstance(pair, tuple) else loadPair(pair)
    found = (server if isinstance(server, bytes) else loadPublic(server), public, secret)
    if not all(isinstance(key, bytes) and len(key) == 40 for key in found):
        raise ConfigurationError("invalid curve: a key is the path of a file, or 40 bytes of Z85 text")
    return found


def checkTimeout(value: float) -> float:
    """
    Return a timeout.

    :param value: seconds, above 0 and at most ``MAX_TIMEOUT``.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT:
        return float(value)
    raise ConfigurationError(f"invalid timeout {value!r}: use a number of seconds above 0 and up to {MAX_TIMEOUT:g}")


def checkAttempts(value: int) -> int:
    """
    Return how many times a request may be sent in all.

    :param value: 1 to ``MAX_ATTEMPTS``; with 1 it is never sent again.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ATTEMPTS:
        return value
    raise ConfigurationError(f"invalid attempts {value!r}: use an integer from 1 to {MAX_ATTEMPTS}")


def checkIdentity(value: bytes | None) -> bytes | None:
    """
    Return a name for the client's connection.

    :param value: 1 to ``MAX_IDENTITY`` bytes, the first of which is not 0; ``None`` lets ZeroMQ choose a unique one.
    :raise ConfigurationError: if it is not.
    """
    if value is None or (isinstance(value, bytes) and 0 < len(value) <= MAX_IDENTITY and value[0] != 0):
        return value
    raise ConfigurationError(
        f"invalid identity {value!r}: use 1 to {MAX_IDENTITY} bytes that do not begin with a zero byte"
    )


def checkService(value: str) -> str:
    """
    Return the name of a service; the empty one is the unnamed service.

    :param value: at most ``MAX_SERVICE`` characters.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, str) and len(value) <= MAX_SERVICE:
        return value
    raise ConfigurationError(f"invalid service {value!r}: use a text of at most {MAX_SERVICE} characters")


def checkRequestId(value: bytes) -> bytes:
    """
    Return the id of a request.

    :param value: 16 bytes.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, bytes) and len(value) == 16:
        return value
    raise ConfigurationError(f"invalid request {value!r}: use the attribute request of a future or an error, 16 bytes")


def checkTrace(value: str) -> str:
    """
    Return a W3C traceparent; empty for none.

    :param value: at most ``MAX_TRACE`` characters.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, str) and len(value) <= MAX_TRACE:
        return value
    raise ConfigurationError(f"invalid trace {value!r}: use a text of at most {MAX_TRACE} characters")


def checkConcurrency(value: int) -> int:
    """
    Return how many calls of a batch may be in flight.

    :param value: 1 to ``MAX_CONCURRENCY``.
    :raise ConfigurationError: if it is not.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_CONCURRENCY:
        return value
    raise ConfigurationError(f"invalid concurrency {value!r}: use an integer from 1 to {MAX_CONCURRENCY}")
