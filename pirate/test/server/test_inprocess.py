# -*- test-case-name: pirate.test.server.test_inprocess -*-
"""The tests of calls from the server's own process."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from pirate.client.errors import (
    AppError,
    Busy,
    Denied,
    Expired,
    Stopping,
    Timeout,
    TooLarge,
    UnknownService,
    WorkerLost,
)
from pirate.errors import ConfigurationError, StopError
from pirate.hooks import Hooks, RequestFacts
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.test.support.testbed import TestBedCase


class DenyAll(Hooks):
    """Hooks that deny every request, and record the contexts."""

    def __init__(self) -> None:
        self.contexts: list[RequestFacts] = []

    def allowRequest(self, context: RequestFacts) -> bool:
        """Deny a request."""
        self.contexts.append(context)
        return False


class CallTests(TestBedCase):
    """Call a server from its own process."""

    def test_reply(self) -> None:
        """The reply is the bytes of its one frame; it arrives in a turn of its own."""
        server = self.serve()
        reply = server.call(b"ahoy")
        self.assertNoResult(reply)
        self.settle(0, 3)
        self.assertEqual(self.successResultOf(reply), b"ahoy")

    def test_codecs(self) -> None:
        """The codec encodes the request and decodes the reply, as with the clients."""
        server = self.serve()
        frames, value = server.call(b"a", b"b", codec="frames"), server.call({"n": 1}, codec="json")
        several = server.call(b"a", b"b")
        self.settle(0, 3)
        self.assertEqual(self.successResultOf(frames), [b"a", b"b"])
        self.assertEqual(self.successResultOf(value), {"n": 1})
        self.failureResultOf(several, ValueError)

    def test_misuse(self) -> None:
        """A body that cannot be encoded, and an unknown codec, are refused at once."""
        server = self.serve()
        self.assertRaises(TypeError, server.call)
        self.assertRaises(TypeError, server.call, "text")
        self.assertRaises(ConfigurationError, server.call, b"x", codec="xml")

    def test_many(self) -> None:
        """Each of many calls gets its own reply."""
        server = self.serve()
        replies = [server.call(b"%d" % number) for number in range(200)]
        self.settle(0, 20)
        self.assertEqual([self.successResultOf(reply) for reply in replies], [b"%d" % n for n in range(200)])
        self.assertEqual(server.stats()["replied"], 200)
        self.assertEqual(server.stats()["undeliverable"], 0)

    def test_callback(self) -> None:
        """A callback may call the server again, and may stop it."""
        server = self.serve()
        stopped: list[Deferred[None]] = []

        def stop(reply: bytes) -> bytes:
            stopped.append(server.stopService())
            return reply

        second = server.call(b"a").addCallback(lambda reply: server.call(reply + b"b")).addCallback(stop)
        self.settle(1, 20)
        self.assertEqual(self.successResultOf(second), b"ab")
        self.successResultOf(stopped[0])

    def test_appError(self) -> None:
        """An exception of the app is an AppError with its type and text."""
        self.bed.autoReply = False
        server = self.serve(1)
        reply = server.call(b"x")
        self.settle()
        self.busy().fail(b"ValueError: no")
        self.settle(0, 3)
        error = self.failureResultOf(reply, AppError).value
        self.assertEqual((error.type, error.text), ("ValueError", "no"))

    def test_workerDies(self) -> None:
        """A request moves to another worker when its worker dies, as one from a socket does."""
        self.bed.autoReply = False
        server = self.serve(2)
        reply = server.call(b"x")
        self.settle()
        self.busy().process.end(signal="KILL")
        self.settle(0.1, 10)
        self.busy().reply(b"done")
        self.settle(0, 3)
        self.assertEqual(self.successResultOf(reply), b"done")

    def test_timeout(self) -> None:
        """A job that takes too long fails the call with Timeout, and its worker is told to cancel it."""
        self.bed.autoReply = False
        server = self.serve(1)
        reply = server.call(b"x", timeout=2)
        self.settle(1.9, 10)
        self.assertNoResult(reply)
        self.settle(0.2, 10)
        self.assertIn("2 seconds", str(self.failureResultOf(reply, Timeout).value))
        # The late reply changes nothing.
        self.busy().reply()
        self.settle(0, 3)

    def test_expired(self) -> None:
        """A call that waits for a worker until its timeout fails, and never runs."""
        self.bed.autoReply = False
        server = self.serve(1)
        server.call(b"first", timeout=60).addErrback(lambda failure: None)
        reply = server.call(b"second", timeout=1)
        self.settle(1.1, 20)
        self.failureResultOf(reply, Timeout, Expired)
        self.busy().reply()
        self.settle(0, 3)
        self.assertEqual([worker for worker in self.bed.workers if worker.inFlight], [])

    def test_cancel(self) -> None:
        """Cancelling the Deferred cancels the request."""
        self.bed.autoReply = False
        server = self.serve(1)
        server.call(b"first").addErrback(lambda failure: None)
        reply = server.call(b"second")
        self.settle()
        reply.cancel()
        self.settle(0, 3)
        self.failureResultOf(reply, CancelledError)
        self.assertEqual(server.stats()["backlog"], 0)

    def test_unknownService(self) -> None:
        """A service that no worker offers is an UnknownService."""
        server = self.serve()
        reply = server.call(b"x", service="other")
        self.settle(0, 3)
        self.failureResultOf(reply, UnknownService)

    def test_busy(self) -> None:
        """With ``reject``, a call beyond a full backlog is Busy."""
        self.bed.autoReply = False
        server = self.serve(1, policy=RequestPolicy(backlog=1, backlogPolicy="reject"))
        replies = [server.call(b"%d" % number) for number in range(3)]
        self.settle(0, 3)
        self.failureResultOf(replies[2], Busy)
        for reply in replies[:2]:
            reply.addErrback(lambda failure: None)

    def test_share(self) -> None:
        """Calls beyond the client's share of the backlog are Busy, as those of any client; the others get replies."""
        self.bed.autoReply = False
        server = self.serve(1, policy=RequestPolicy(backlog=4))
        replies = [server.call(b"%d" % number) for number in range(10)]
        self.settle(0, 3)
        waiting = server.stats()["backlog"]
        self.assertLessEqual(waiting, 4)
        for reply in replies[waiting + 1 :]:
            self.failureResultOf(reply, Busy)
        for _ in range(waiting + 1):
            self.busy().reply()
            self.settle(0, 3)
        self.assertEqual([self.successResultOf(reply) for reply in replies[: waiting + 1]], [b"0", b"1", b"2"])

    def test_tooLarge(self) -> None:
        """The limits of clients hold, and nothing is sent."""
        server = self.serve(peerLimits=PeerLimits(maxMessageSize=0.001, maxMessageTotal=0.002, maxMessageFrames=8))
        for body in ([bytes(1100)], [bytes(1000)] * 3, [b""] * 7):
            self.failureResultOf(server.call(*body, codec="frames"), TooLarge)
        self.settle(0, 3)
        self.assertEqual(server.stats()["received"], 0)

    def test_allowRequest(self) -> None:
        """The application's rule for requests decides, too; the client has no address and no user."""
        hooks = DenyAll()
        server = self.serve(hooks=hooks)
        reply = server.call(b"ahoy")
        self.settle(0, 3)
        self.failureResultOf(reply, Denied)
        self.assertEqual((hooks.contexts[0].client, hooks.contexts[0].user), (None, None))

    def test_notRunning(self) -> None:
        """A server that has not been started, or has stopped, fails the call with StopError."""
        server = self.make()
        self.failureResultOf(server.call(b"x"), StopError)

    def test_beforeWorkers(self) -> None:
        """A call that comes before the first worker waits for it."""
        self.bed.autoAnnounce = False
        server = self.serve(1)
        reply = server.call(b"x")
        self.settle(0, 3)
        self.assertNoResult(reply)
        self.bed.workers[0].announce()
        self.settle(0, 3)
        self.assertEqual(self.successResultOf(reply), b"x")

    def test_stop(self) -> None:
        """A server that stops answers accepted calls, and refuses new ones."""
        self.bed.autoReply = False
        server = self.serve(1, limits=PoolLimits(minServers=1, maxServers=1, stopTimeout=30))
        accepted = server.call(b"x")
        self.settle()
        stopped = server.stopService()
        refused = server.call(b"y")
        self.settle(0, 3)
        self.failureResultOf(refused, Stopping)
        self.busy().reply()
        self.settle(1, 10)
        self.assertEqual(self.successResultOf(accepted), b"x")
        self.successResultOf(stopped)

    def test_abort(self) -> None:
        """A server that is aborted fails every call: what runs is lost, what waits is refused."""
        self.bed.autoReply = False
        server = self.serve(1)
        replies = [server.call(b"x"), server.call(b"y")]
        self.settle()
        server.abort()
        self.settle(1, 10)
        self.failureResultOf(replies[0], WorkerLost)
        self.failureResultOf(replies[1], Stopping)
