"""A client of the server in the server's own process, without a socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.server.environment import ServerEnvironment
from pirate.server.protocol import REJECTED
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import ITransport
from pirate.wire.frontend import header, parseServerReply
from pirate.wire.words import Code


class _Call:
    """
    A request that waits for its reply.

    :ivar codec: decodes the reply.
    :ivar endpoint: the endpoint of the server, for errors.
    :ivar reply: fires with the reply.
    :ivar timer: the end of the timeout.
    """

    __slots__ = ("codec", "endpoint", "reply", "timer")

    def __init__(self, codec: Any, endpoint: str, reply: Deferred[Any], timer: IDelayedCall) -> None:
        self.codec = codec
        self.endpoint = endpoint
        self.reply = reply
        self.timer = timer


class InProcessClient:
    """
    A client that speaks the broker's native protocol through the transport, but not through a socket.

    It implements :class:`~pirate.transport.interfaces.InProcessPeer`.  Replies arrive in a turn of the reactor of their
    own, so that what a callback does never happens in the middle of the broker's work.

    :param clock: times the calls.
    :param environment: makes the ids of requests.
    :param transport: the transport, which is bound.
    :param peerLimits: the limits of a request, which are those of every client.
    """

    def __init__(
        self, clock: IReactorTime, environment: ServerEnvironment, transport: ITransport, peerLimits: PeerLimits
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._transport = transport
        self._limits = peerLimits
        self._calls: dict[bytes, _Call] = {}
        self._received: deque[list[bytes]] = deque()
        self._delivery: IDelayedCall | None = None
        transport.connectInProcess(self)

    def call(self, body: tuple[Any, ...], timeout: float, service: str, codec: Any, endpoint: str) -> Deferred[Any]:
        """
        Send a request; see :meth:`pirate.service.JobServer.call`.

        :param endpoint: the endpoint of the server, for errors.
        :raise TypeError: if the body cannot be encoded.
        :raise ConfigurationError: if the codec is unknown.
        """
        # Not when this module is imported: the client's package loads ZeroMQ.
        from pirate.client.codecs import newCodec
        from pirate.client.errors import failure

        encoder = newCodec(codec)
        frames = encoder.encode(body)
        requestId = self._environment.secret(16)
        reply: Deferred[Any] = Deferred(lambda ignored: self._cancel(requestId))
        excess = self._excess(frames)
        if excess:
            reply.errback(failure(Code.DENIED, excess, endpoint, requestId))
            return reply
        options: dict[str, Any] = {"timeout_ms": max(int(timeout * 1000), 1)}
        if service:
            options["service"] = service
        timer = self._clock.callLater(timeout, self._timedOut, requestId, timeout)
        self._calls[requestId] = _Call(encoder, endpoint, reply, timer)
        self._transport.receiveInProcess([header(requestId, options), b"", *frames])
        return reply

    def messageReceived(self, frames: Sequence[Any]) -> None:
        """See :class:`~pirate.transport.interfaces.InProcessPeer`."""
        self._received.append([bytes(frame) for frame in frames])
        if self._delivery is None:
            self._delivery = self._clock.callLater(0, self._deliver)

    def stop(self) -> None:
        """Deliver the last replies, and fail every other call, because the server has stopped."""
        from pirate.client.errors import failure

        if self._delivery is not None:
            self._delivery.cancel()
        self._deliver()
        for requestId in list(self._calls):
            call = self._forget(requestId)
            if call is not None:
                call.reply.errback(failure(Code.STOPPING, "", call.endpoint, requestId))

    def _deliver(self) -> None:
        self._delivery = None
        for _ in range(len(self._received)):
            self._replyReceived(self._received.popleft())

    def _replyReceived(self, frames: list[bytes]) -> None:
        from pirate.client.errors import failure

        reply = parseServerReply(frames)
        call = None if reply is None else self._forget(reply.requestId)
        if reply is None or call is None:
            return
        code = reply.options.get("code")
        if code is None:
            try:
                value = call.codec.decode(reply.body)
            except ValueError:
                call.reply.errback()
            else:
                call.reply.callback(value)
        else:
            error = failure(str(code), str(reply.options.get("message", "")), call.endpoint, reply.requestId)
            error.attempts = reply.options.get("attempts", 0)
            error.sent = 1
            call.reply.errback(error)

    def _timedOut(self, requestId: bytes, timeout: float) -> None:
        from pirate.client.errors import Timeout

        call = self._calls.pop(requestId, None)
        if call is not None:
            self._sendCancel(requestId)
            error = Timeout(f"no reply within {timeout:g} seconds", call.endpoint, requestId)
            error.sent = 1
            call.reply.errback(error)

    def _cancel(self, requestId: bytes) -> None:
        if self._forget(requestId) is not None:
            self._sendCancel(requestId)

    def _sendCancel(self, requestId: bytes) -> None:
        self._transport.receiveInProcess([header(requestId, {"command": "cancel"}), b"", b""])

    def _forget(self, requestId: bytes) -> _Call | None:
        call = self._calls.pop(requestId, None)
        if call is not None and call.timer.active():
            call.timer.cancel()
        return call

    def _excess(self, frames: list[bytes]) -> str:
        """Return by which limit a request is rejected, as the transport does for other clients; empty if by none."""
        limits = self._limits
        sizes = [len(frame) for frame in frames]
        if max(sizes) > limits.maxFrameBytes:
            return REJECTED["frame-too-large"]
        if sum(sizes) > limits.maxMessageBytes:
            return REJECTED["too-large"]
        if len(frames) + 2 > limits.maxMessageFrames:
            return REJECTED["too-many-frames"]
        return ""
