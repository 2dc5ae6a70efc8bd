"""
Many calls over several connections, without a socket or a clock.

A session decides when a call is sent, and sent again, and to which call a message belongs;
:mod:`~pirate.client.endpoints` chooses the connection and watches over silent ones.  Its driver reports every event
with its time: a call begins, a message arrives, a connection is established or lost, time passes.  The session sends
through the connections it was given, and reports a call's end through the call's own ``done``.

The rules:

- A call goes to a connection that is ready: one whose server answers before one that is silent, then the one with the
  fewest calls in flight.  If none is ready the call waits in a queue, until its deadline.
- When an attempt's share of the time is over, the next attempt is sent with the same id, to another endpoint if there
  is one.
- The calls of a lost connection go elsewhere at once, or wait for the next connection.  A call that has no attempt
  left, or has received a part of its reply, fails instead.
- A call above 1 MiB is sent only when its server has stated its limits.  A smaller one is sent at once, unless the
  known limits exclude it; after a lost connection it, too, waits for the limits, unless it is too small to be the
  cause.
- A request that one server refuses, being busy or stopping, goes to another.  When all have refused it, it fails.
- If there are several endpoints, a silent one with calls in flight is pinged; if it does not answer, its calls move.
- A call that has ended is cancelled at every other server where it may still wait or run.
- Small calls that begin in the same moment go in one message, a *batch*, to a server that takes that.  A connection
  tries it once its server has replied as only a pirate server does, with a batch so small that no limit forbids it.  If
  the server does not know batches, or there is a proxy on the way, the calls of the trial are sent again one by one,
  under the same ids, and so are all others on this connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Protocol

from pirate.client.call import MANY, SMALL, Call, isRefusal
from pirate.client.endpoints import Batches, Health, MessageSink, Outage, Peer, PeerSet, SizeLimits, sizeLimits
from pirate.client.errors import CallError, Cancelled
from pirate.client.schedule import Schedule
from pirate.wire.frontend import (
    MAX_BATCHED_TIMEOUT,
    REPLY_BATCH_HEADER,
    ServerReply,
    header,
    packRequests,
    parseReplies,
    parseServerReply,
)
from pirate.wire.words import MAGIC, MAX_BATCH, Frames

_NEVER = float("inf")
#: Seconds without a connection after which an outage is reported.
REPORT_AFTER = 1.0
#: A request with more bytes is not sent before its server has stated its limits.
ASK_ABOVE = 1 << 20
#: Seconds that a server has to state its limits.
ASK_PATIENCE = 1.0
#: Seconds that a call without an attempt left waits for a connection, to learn whether it was too large.
SIZE_PATIENCE = 2.0
#: The errors that say that an attempt did not run.  From an earlier attempt they mean nothing.
_NOT_RUN = frozenset({"busy", "stopping", "expired", "cancelled"})


class SessionDriver(Protocol):
    """The owner of a session's connections."""

    def connect(self, endpoint: str) -> None:
        """Open one more connection to an endpoint, and :meth:`Session.add` it."""

    def reportOutage(self, outage: Outage) -> None:
        """Tell the user that calls wait for a connection, or no longer do."""


class Session:
    """
    The open calls of a client, and its connections.

    :param plain: whether requests have no header; a connection then carries one call at a time.
    :param random: for jitter.
    :param newId: returns the id of a ping, 16 bytes.
    :param driver: opens connections, and reports outages.
    :ivar peers: the connections.
    :ivar calls: the calls that have not ended, by their ids.
    :ivar hasCollected: whether :meth:`flush` has calls to send.
    :ivar nextWake: when :meth:`wake` must be called at the latest; infinite if nothing is due.
    """

    def __init__(self, plain: bool, random: Random, newId: Callable[[], bytes], driver: SessionDriver) -> None:
        self._plain = plain
        self._newId = newId
        self._driver = driver
        self._random = random.random
        self.peers = PeerSet(plain, random, driver.connect)
        self.nextWake = _NEVER
        self.hasCollected = False
        self._closed = False
        self._now = 0.0
        self._reportAt = _NEVER
        self._reported = False
        self.calls: dict[object, Call] = {}
        self._waiting: deque[Call] = deque()
        self._schedule = Schedule()
        self._health = Health(self.peers, newId)

    @property
    def open(self) -> int:
        """How many calls have not ended."""
        return len(self.calls)

    def add(self, endpoint: str, connection: MessageSink) -> Peer:
        """Add a connection, which is not ready yet."""
        return self.peers.add(endpoint, connection)

    # --- from the caller

    def begin(self, call: Call, now: float) -> None:
        """Begin a call."""
        self.calls[call.request or call] = call
        if self._closed:
            self._endClosed(call)
            return
        if self._waiting or not self._send(call, now):
            self._wait(call, now)
            self._sendWaiting(now)
        self._plan(call, now)

    def beginAll(self, calls: Iterable[Call], now: float) -> None:
        """Begin several calls."""
        for call in calls:
            self.collect(call, now)
        if self.hasCollected:
            self.flush(now)

    def collect(self, call: Call, now: float) -> None:
        """Begin a call like :meth:`begin`, but leave it to :meth:`flush` to send it, if others can go with it."""
        if call.small and not (self._waiting or self._closed or call.trace):
            peer = self.peers.only
            if peer is None or not peer.ready or peer.silent or peer.denied:
                peer = self.peers.choose(call)
            if peer is not None and (peer.batches is Batches.YES or peer.batches is Batches.TRY):
                self.calls[call.request] = call
                call.peer = peer
                peer.inFlight += 1
                collected = peer.collected
                if collected and (len(collected) == MAX_BATCH or collected[0].service != call.service):
                    self._sendCollected(peer, now)
                peer.collected.append(call)
                self.hasCollected = True
                return
        self.begin(call, now)

    def flush(self, now: float) -> None:
        """Send the calls that have been collected."""
        self.hasCollected = False
        try:
            for peer in self.peers:
                if peer.collected:
                    self._sendCollected(peer, now)
        except BaseException:
            # A signal has interrupted this: the calls of other threads are still to be sent.
            self.hasCollected = True
            raise

    def cancel(self, call: Call, now: float) -> None:
        """End a call for its caller, and cancel its request at the servers."""
        if not call.finished:
            where = () if call.peer is None or not call.sent else (call.peer,)
            call.others = (*call.others, *where)
            self._finish(call, error=Cancelled("the request was cancelled by its caller", call.endpoint, call.request))

    def cancelId(self, requestId: bytes, now: float) -> None:
        """Cancel a request by its id; it may be another client's."""
        call = self.calls.get(requestId)
        if call is not None:
            self.cancel(call, now)
        else:
            self._sendCancel(requestId, tuple(self.peers))

    def close(self) -> None:
        """End all calls, and those that begin later."""
        self._closed = True
        for peer in self.peers:
            peer.ready = False
        for call in list(self.calls.values()):
            if not call.finished:
                self._endClosed(call)

    def _endClosed(self, call: Call) -> None:
        why = "the client was closed before the reply came" + (", the job may have run" if call.sent else "")
        self._finish(call, error=Cancelled(why, call.endpoint, call.request))

    # --- from the connections and the clock

    def received(self, peer: Peer, frames: Frames, now: float) -> None:
        """Take a message that has arrived."""
        self._now = now
        peer.heardAt = now
        if peer.suspect or peer.silent or peer.pingedAt is not None:
            self._health.heard(peer)
        if self._plain:
            if peer.call is not None:
                self._finish(peer.call, ServerReply(b"", {}, frames))
                self._sendWaiting(now)
            return
        head = frames[0] if frames else b""
        if head == REPLY_BATCH_HEADER:
            self._batchReceived(peer, frames)
            return
        # Most replies have no options in the header; the others take the parser.
        bare = len(head) == 20 and len(frames) > 2 and not frames[1] and head[:4] == MAGIC
        reply = ServerReply(head[4:], {}, frames[2:]) if bare else parseServerReply(frames)
        if peer.batches is not Batches.YES and reply is not None:
            self._learn(peer, reply, bare, now)
        call = None if reply is None else self.calls.get(reply.requestId)
        if reply is None:
            for each in self.calls.values():
                each.foreign = each.foreign or each.peer is peer
        elif call is not None:
            if bare:
                self._succeed(call, peer, reply)
            else:
                self._replied(call, peer, reply, now)

    def _batchReceived(self, peer: Peer, frames: Frames) -> None:
        """Take several replies in one message."""
        peer.batches = Batches.YES
        peer.trial = None
        calls = self.calls
        for requestId, body in parseReplies(frames[2:]) or ():
            call = calls.get(requestId)
            if call is None:
                continue
            reply = ServerReply(requestId, {}, [body])
            if call.others or call.peer is not peer:
                self._succeed(call, peer, reply)
                continue
            # The usual case of ``_succeed``.
            del calls[requestId]
            peer.inFlight -= 1
            call.finished = True
            call.peer = None
            call.reply = reply
            call.done(call)

    def _learn(self, peer: Peer, reply: ServerReply, bare: bool, now: float) -> None:
        """Note what a reply tells about its server: whether it takes batches."""
        if peer.batches is Batches.UNKNOWN and bare:
            # A broker that knows only the envelope rule would return the options of our own header.
            peer.batches = Batches.TRY
        elif peer.trial is not None:
            batchId, calls = peer.trial
            if reply.requestId == batchId:
                peer.batches = Batches.NO
                peer.trial = None
                for call in calls:
                    if not call.finished and call.peer is peer:
                        # It was not sent, in effect.
                        call.sent -= 1
                        self._detach(call)
                        self._sendAgain(call, now)
            elif any(call.request == reply.requestId and call.sent == 1 for call in calls):
                peer.batches = Batches.YES
                peer.trial = None

    def connected(self, peer: Peer, now: float) -> None:
        """Mark a connection ready, and send the calls that wait."""
        self._now = now
        peer.ready = peer.connected = True
        peer.stopping = peer.denied = False
        self._reportAt = _NEVER
        reported, self._reported = self._reported, False
        self._sendWaiting(now)
        if reported:
            self._driver.reportOutage(Outage("connected", peer.endpoint, len(self._waiting)))

    def denied(self, peer: Peer) -> None:
        """Mark a connection as rejected by its server; if all are, end the calls that wait."""
        peer.denied = True
        if self.peers.denied:
            for call in [each for each in self.calls.values() if each.peer is None]:
                if not call.finished:
                    self._finish(call, error=call.deniedError())

    def lost(self, peer: Peer, now: float) -> None:
        """Move the calls of a lost connection, or end them.  ZeroMQ connects again by itself."""
        self._now = now
        peer.ready = peer.connected = peer.stopping = False
        peer.forgetServer()
        lost = [each for each in self.calls.values() if each.peer is peer]
        for call in lost:
            if call.peer is not peer:
                continue
            self._detach(call)
            # From now on it is sent only to a server that accepts so much.
            call.large = call.mayExceedLimits
            if call.maySendAgain:
                self._sendAgain(call, now)
            elif call.large and not call.parts and not self._plain:
                call.checkingSize = True
                call.deadline = min(call.deadline, now + SIZE_PATIENCE)
                self._sendAgain(call, now)
            else:
                self._finish(call, error=call.connectionLostError())
        waiting = sum(not call.finished and call.peer is None for call in lost)
        if waiting and not self.peers.connected:
            self._reported = True
            self._reportAt = _NEVER
            self._driver.reportOutage(Outage("lost", peer.endpoint, waiting))

    def wake(self, now: float) -> None:
        """Do everything that is due."""
        self._now = now
        if self.hasCollected:
            self.flush(now)
        while (call := self._schedule.due(now)) is not None:
            if now >= call.deadline:
                self._expire(call)
                continue
            if call.peer is not None and call.next <= now:
                self._retry(call, now)
            self._plan(call, now)
        if now >= self._health.next:
            for peer in self._health.examine(self.calls.values(), now):
                self._evacuate(peer, now)
        if now >= self._reportAt:
            self._reportUnreachable()
        self.nextWake = min(self._schedule.next, self._health.next, self._reportAt)

    # --- sending

    def _send(self, call: Call, now: float, avoid: Peer | None = None) -> bool:
        """
        Send a call on the best connection.

        :param avoid: a connection to use only if there is no other.
        :return: false if no connection accepts it now.
        """
        while (peer := self.peers.choose(call, avoid)) is not None:
            if peer.collected:
                # They come first.
                self._sendCollected(peer, now)
                continue
            if call.large and not self._plain and not self._fits(call, peer, now):
                if call.finished or call.peer is not None:
                    return True
                continue
            # Recorded first, so that the call is consistent if a signal interrupts the sending.
            call.peer = peer
            peer.inFlight += 1
            if self._plain:
                peer.call = call
            if peer.connection.send(call.frames(now)):
                # Jitter stretches a retry's share of the time by up to a quarter.
                call.markSent(now, 1.0 + self._random() / 4 if call.attempts > 1 else 1.0)
                call.endpoint = peer.endpoint
                self._health.callSent(now)
                return True
            self._detach(call)
            peer.ready = False
        return False

    def _sendCollected(self, peer: Peer, now: float) -> None:
        """Send the calls that were collected for a connection; if it accepts nothing now, they wait."""
        # They stay collected until they are recorded as sent, in case a signal interrupts the sending.
        calls = peer.collected
        together = sent = 0
        if peer.batches is Batches.YES:
            together = len(calls)
        elif peer.batches is Batches.TRY:
            together = _countOfTrial(calls)
        if together > 1 and self._sendBatch(peer, calls[:together], now):
            sent = together
        if sent or together < 2:
            while sent < len(calls) and peer.connection.send(calls[sent].frames(now)):
                sent += 1
        endpoint = peer.endpoint
        for call in calls[:sent]:
            # As in ``markSent`` for a first attempt.
            call.next = now + (call.deadline - now) / call.attempts if call.attempts > 1 else _NEVER
            call.sent = 1
            call.sentAt = now
            call.endpoint = endpoint
        self._schedule.planAll(calls[:sent], now, len(self.calls))
        unsent = calls[sent:]
        peer.collected = unsent[:]
        self._health.callSent(now)
        if unsent:
            peer.ready = False
            for call in unsent:
                self._detach(call)
                self._wait(call, now)
            self._sendWaiting(now)
            self._schedule.planAll(unsent, now, len(self.calls))
        self.nextWake = min(self._schedule.next, self._health.next, self._reportAt)

    def _sendBatch(self, peer: Peer, calls: list[Call], now: float) -> bool:
        """
        Send calls in one message.

        :return: whether the connection has accepted it.
        """
        batchId = self._newId()
        options = {"command": "batch", "service": calls[0].service} if calls[0].service else {"command": "batch"}
        body = packRequests(
            [
                (call.request, min(max(1, int((call.expiry - now) * 1000)), MAX_BATCHED_TIMEOUT), call.body[0])
                for call in calls
            ]
        )
        if not peer.connection.send([header(batchId, options), b"", body]):
            return False
        if peer.batches is Batches.TRY:
            peer.batches = Batches.TRYING
            peer.trial = (batchId, calls)
        return True

    def _sendWaiting(self, now: float) -> None:
        """Send the calls that wait, as long as connections accept them."""
        waiting = self._waiting
        while waiting:
            # Removed first: a call may end here, and its ``done`` may begin another.
            call = waiting.popleft()
            if not call.finished and call.peer is None:
                if not self._send(call, now):
                    waiting.appendleft(call)
                    if self._plain:
                        self.peers.connectMore(len(self._waiting))
                    return
                self._plan(call, now)

    def _wait(self, call: Call, now: float) -> None:
        """Queue a call until a connection is ready."""
        self._waiting.append(call)
        if self._reportAt == _NEVER and not self._reported and not self.peers.connected:
            self._reportAt = now + REPORT_AFTER

    def _reportUnreachable(self) -> None:
        """Report calls that have waited too long for a connection."""
        self._reportAt = _NEVER
        waiting = [each for each in self._waiting if not each.finished and each.peer is None]
        if waiting and not self.peers.connected:
            self._reported = True
            self._driver.reportOutage(Outage("unreachable", waiting[0].endpoint, len(waiting)))

    # --- message limits

    def _fits(self, call: Call, peer: Peer, now: float) -> bool:
        """
        Return whether a large call may be sent to a server now.

        If not, the call has ended, or is held until the server has stated its limits; or the connection accepts nothing
        and is marked not ready.
        """
        if peer.limits is None:
            if not (call.sent or len(call.body) > MANY or sum(map(len, call.body)) > ASK_ABOVE):
                return True
            if peer.held or self._askLimits(peer, now):
                peer.held[call] = None
                peer.inFlight += 1
                call.peer = peer
                call.endpoint = peer.endpoint
                call.next = _NEVER
            else:
                peer.ready = False
            return False
        call.endpoint = peer.endpoint
        excess = peer.limits.excess(call.frames(now))
        if excess:
            self._finish(call, error=call.tooLargeError(excess))
        elif call.checkingSize:
            self._finish(call, error=call.connectionLostError())
        return not call.finished

    def _askLimits(self, peer: Peer, now: float) -> bool:
        """
        Ping a server for its limits.

        :return: false if the connection does not accept the ping now.
        """
        ask = Call(
            [b""],
            now=now,
            timeout=ASK_PATIENCE,
            attempts=1,
            done=lambda ask: self._limitsReceived(peer, ask),
            endpoint=peer.endpoint,
            request=self._newId(),
            command="ping",
        )
        if not peer.connection.send(ask.frames(now)):
            return False
        ask.peer = peer
        peer.inFlight += 1
        ask.markSent(now)
        self.calls[ask.request] = ask
        self._plan(ask, now)
        return True

    def _limitsReceived(self, peer: Peer, ask: Call) -> None:
        """Send the calls that were held for a server's limits, which it has stated or not."""
        held, peer.held = peer.held, {}
        if self._closed:
            return
        if peer.ready:
            peer.limits = SizeLimits() if ask.reply is None else sizeLimits(ask.reply.options)
        for call in held:
            if not call.finished and call.peer is peer:
                self._detach(call)
                self._sendAgain(call, self._now)

    # --- replies and ends

    def _replied(self, call: Call, peer: Peer, reply: ServerReply, now: float) -> None:
        # A broker that knows only the envelope rule returns our own header, which has no status.
        status = reply.options.get("status", "ok") if reply.options else "ok"
        if status == "ok":
            self._succeed(call, peer, reply)
        elif status == "partial":
            if call.part is not None and call.peer is peer:
                call.parts += 1
                call.part(list(reply.body))
        elif (call.peer is peer or reply.options.get("code") not in _NOT_RUN) and not (
            isRefusal(reply) and self._refused(call, peer, reply, now)
        ):
            self._settle(call, peer)
            call.endpoint = peer.endpoint
            self._finish(call, error=call.failure(reply.options))

    def _succeed(self, call: Call, peer: Peer, reply: ServerReply) -> None:
        """End a call with the app's reply."""
        if call.others:
            self._settle(call, peer)
        self._finish(call, reply)

    def _settle(self, call: Call, peer: Peer) -> None:
        """Note which servers still have a request that one of them has answered; they are told to cancel it."""
        if call.others:
            several = (*call.others, call.peer)
            call.others = tuple(each for each in several if each is not None and each is not peer)

    def _refused(self, call: Call, peer: Peer, reply: ServerReply, now: float) -> bool:
        """
        Send a request that a server has refused to another.

        :return: whether there is another.
        """
        peer.stopping = peer.stopping or reply.options.get("code") == "stopping"
        call.refused = (*call.refused, peer)
        endpoint = call.endpoint
        self._detach(call)
        if call.part is not None and call.parts:
            return False
        if self._send(call, now):
            self._plan(call, now)
            return True
        call.endpoint = endpoint
        return False

    def _sendAgain(self, call: Call, now: float) -> None:
        """Send a call once more, or queue it until a connection is ready."""
        call.refused = ()
        if self._waiting or not self._send(call, now):
            self._wait(call, now)
            self._sendWaiting(now)
        self._plan(call, now)

    def _retry(self, call: Call, now: float) -> None:
        """Send the next attempt of a call whose attempt has used its share of the time."""
        peer = call.peer
        assert peer is not None
        self._detach(call)
        if self._plain:
            # On the same socket, the reply to the first attempt could not be told from that to the second.
            self.peers.replace(peer)
            self._sendAgain(call, now)
        elif self._send(call, now, avoid=peer):
            if call.peer is not peer:
                call.others = (*call.others, peer)
        else:
            self._wait(call, now)

    def _detach(self, call: Call) -> None:
        """Remove a call from its connection."""
        peer = call.peer
        if peer is not None:
            peer.inFlight -= 1
            peer.call = None
            call.peer = None
            peer.held.pop(call, None)
            if not call.sent and peer.collected:
                with suppress(ValueError):
                    peer.collected.remove(call)

    def _expire(self, call: Call) -> None:
        """End a call whose deadline has passed."""
        peer = call.peer
        # A server that does not state its limits may still answer.
        if peer is not None and not peer.held and peer.heardAt < call.sentAt:
            peer.silent = True
        if call.checkingSize:
            self._finish(call, error=call.connectionLostError())
        elif peer is None and self.peers.denied:
            self._finish(call, error=call.deniedError())
        else:
            self._finish(call, error=call.timeoutError(peer is not None or self.peers.connected))

    def _finish(self, call: Call, reply: ServerReply | None = None, error: CallError | None = None) -> None:
        """End a call with a reply or an error."""
        del self.calls[call.request or call]
        peer = call.peer
        if peer is not None:
            peer.inFlight -= 1
            peer.call = None
            if not call.sent and peer.collected:
                with suppress(ValueError):
                    peer.collected.remove(call)
            if self._plain and reply is None and not self._closed:
                # A late reply would be taken for the next call's.
                self.peers.replace(peer)
        call.finished = True
        call.peer = None
        call.reply = reply
        call.error = error
        if error is not None:
            error.sent = call.sent
        if call.others and not self._plain:
            self._sendCancel(call.request, call.others)
        call.done(call)

    def _sendCancel(self, requestId: bytes, peers: tuple[Peer, ...]) -> None:
        """Cancel a request at servers."""
        for peer in dict.fromkeys(peers):
            if peer.ready:
                peer.connection.send([header(requestId, {"command": "cancel"}), b"", b""])

    # --- time

    def _plan(self, call: Call, now: float) -> None:
        """Schedule a call for when it is next due."""
        self._schedule.plan(call, now, len(self.calls))
        self.nextWake = min(self._schedule.next, self._health.next, self._reportAt)

    def _evacuate(self, peer: Peer, now: float) -> None:
        """Move the calls of a suspect connection to one whose server answers, if there is one."""
        for call in [each for each in self.calls.values() if each.peer is peer and each.maySendAgain]:
            if any(each.ready and not each.suspect and each is not peer for each in self.peers):
                self._detach(call)
                if self._send(call, now, avoid=peer):
                    call.others = (*call.others, peer)
                    self._plan(call, now)
                else:
                    self._wait(call, now)


def _countOfTrial(calls: list[Call]) -> int:
    """Return how many calls the first batch may have: every server accepts a frame of so many bytes."""
    left = SMALL - 1
    for count, call in enumerate(calls):
        left -= 22 + len(call.body[0])
        if left < 0:
            return count
    return len(calls)
