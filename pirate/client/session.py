"""
Many calls over several connections, without a socket or a clock.

A session decides when a call is sent, and sent again, and to which call a message belongs; ``peers`` chooses the
connection, and ``health`` knows which of them are silent.  It is told what happens, and when: a call begins, a message
arrives, a connection is there or lost, time has passed.  It sends by the connections that it is given, and tells a
call's end by the call's own ``done``.

The rules:

- A call goes to a connection that takes it: one that answers before one that is silent, then the one with the fewest
  calls in hand.  Where there is none the call waits, in the order of its coming, for as long as it has time.
- A try whose share of the time is over is followed by another with the same id, elsewhere if there is an elsewhere.
- A lost connection's calls go elsewhere at once, or wait for the next connection.  A call that has been sent as often
  as it may be, or of whose answer there were parts, fails instead.
- A large call is sent where the server has told, in the answer to a ping, that it takes so much.  A very large one
  waits for that answer from the start, others once a connection was lost with them, as they may be the reason.
- What a server refuses, being busy or about to stop, another is asked.  When all have refused it, so it is.
- Where there are several endpoints, one that is silent with calls in hand is pinged; if it does not answer that either,
  its calls go elsewhere.
- A call that ended is cancelled wherever else it may be waiting or running.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from pirate.client.call import MANY, Call, isRefusal
from pirate.client.errors import CallError, Cancelled
from pirate.client.health import Health
from pirate.client.outage import Outage
from pirate.client.peer import MessageSink, Peer
from pirate.client.peers import PeerSet
from pirate.client.schedule import Schedule
from pirate.client.sizes import SizeLimits, sizeLimits
from pirate.wire.frontend import ServerReply, header, parseServerReply
from pirate.wire.words import MAGIC, Frames

_NEVER = float("inf")
#: Seconds without a connection after which the caller is told that calls wait for one.
NOTICE_AFTER = 1.0
#: A request with more bytes is not sent before its server has told how much it takes.
ASK_ABOVE = 1 << 20
#: Seconds that a server has to tell that.
ASK_PATIENCE = 1.0
#: Seconds that a call which has lost its last attempt waits for a connection, to learn whether it was too large.
DOUBT_PATIENCE = 2.0
#: A mark of the errors that say that a request was not run: from an earlier try they mean nothing.
_NOT_RUN = frozenset({"busy", "stopping", "expired", "cancelled"})


class Session:
    """
    See the module.

    :param plain: whether the calls have no header: then a connection has one call in hand at a time.
    :param random: for jitter.
    :param newId: makes the id of a ping, 16 bytes.
    :param tell: called when calls wait for a connection, and when they need not any more.
    :ivar peers: the connections.
    :ivar nextWake: when ``wake`` is to be called at the latest; infinite if there is nothing to wait for.
    """

    def __init__(
        self, plain: bool, random: Random, newId: Callable[[], bytes], tell: Callable[[Outage], object]
    ) -> None:
        self._plain = plain
        self._newId = newId
        self._tellCaller = tell
        self._random = random.random
        self.peers = PeerSet(plain, random)
        self.nextWake = _NEVER
        self._closed = False
        self._now = 0.0
        self._noticeAt = _NEVER
        self._told = False
        self._open: dict[object, Call] = {}
        self._waiting: deque[Call] = deque()
        self._schedule = Schedule()
        self._health = Health(self.peers, newId)

    @property
    def open(self) -> int:
        """How many calls have not ended."""
        return len(self._open)

    def add(self, endpoint: str, connection: MessageSink) -> Peer:
        """There is one more connection, not ready yet."""
        return self.peers.add(endpoint, connection)

    # --- what a caller wants

    def begin(self, call: Call, now: float) -> None:
        """Take up a call."""
        self._open[call.key or call] = call
        if self._closed:
            self._shut(call)
            return
        if self._waiting or not self._send(call, now):
            self._wait(call, now)
            self._flush(now)
        self._plan(call, now)

    def beginAll(self, calls: list[Call], now: float) -> None:
        """Take up several."""
        for call in calls:
            self.begin(call, now)

    def cancel(self, call: Call, now: float) -> None:
        """A caller does not want the answer any more; the servers are told."""
        if not call.finished:
            where = () if call.peer is None or not call.sent else (call.peer,)
            call.others = (*call.others, *where)
            self._finish(call, error=Cancelled("the request was cancelled by its caller", call.endpoint, call.key))

    def cancelId(self, key: bytes, now: float) -> None:
        """The same for a request of which only the id is known, and which may be another client's."""
        call = self._open.get(key)
        if call is not None:
            self.cancel(call, now)
        else:
            self._tell(key, tuple(self.peers))

    def close(self) -> None:
        """End all calls, and those that come later."""
        self._closed = True
        for peer in self.peers:
            peer.ready = False
        for call in list(self._open.values()):
            if not call.finished:
                self._shut(call)

    def _shut(self, call: Call) -> None:
        why = "the client was closed before the answer came" + (", the job may have run" if call.sent else "")
        self._finish(call, error=Cancelled(why, call.endpoint, call.key))

    # --- what happens

    def received(self, peer: Peer, frames: Frames, now: float) -> None:
        """A message has come."""
        self._now = now
        self._health.heard(peer, now)
        if self._plain:
            if peer.call is not None:
                self._finish(peer.call, ServerReply(b"", {}, frames))
                self._flush(now)
            return
        head = frames[0] if frames else b""
        # Most are replies without a word in the header; the rest is for the parser.
        bare = len(head) == 20 and len(frames) > 2 and not frames[1] and head[:4] == MAGIC
        answer = ServerReply(head[4:], {}, frames[2:]) if bare else parseServerReply(frames)
        call = None if answer is None else self._open.get(answer.key)
        if answer is None:
            for each in self._open.values():
                each.strange = each.strange or each.peer is peer
        elif call is not None:
            self._answered(call, peer, answer, now)

    def connected(self, peer: Peer, now: float) -> None:
        """A connection takes messages again."""
        self._now = now
        peer.ready = peer.connected = True
        peer.stopping = peer.denied = False
        self._noticeAt = _NEVER
        told, self._told = self._told, False
        self._flush(now)
        if told:
            self._tellCaller(Outage("connected", peer.endpoint, len(self._waiting)))

    def denied(self, peer: Peer) -> None:
        """A server does not let a connection in; if none does, what waits has nothing to wait for."""
        peer.denied = True
        if self.peers.denied:
            for call in [each for each in self._open.values() if each.peer is None]:
                if not call.finished:
                    self._finish(call, error=call.denied())

    def lost(self, peer: Peer, now: float) -> None:
        """A connection is gone, with what was sent there; it will be tried again."""
        self._now = now
        peer.ready = peer.connected = peer.stopping = False
        peer.limits = None
        lost = [each for each in self._open.values() if each.peer is peer]
        for call in lost:
            if call.peer is not peer:
                continue
            self._takeBack(call)
            if call.mayMove:
                self._again(call, now)
            elif call.large and not call.parts and not self._plain:
                call.doubted = True
                call.deadline = min(call.deadline, now + DOUBT_PATIENCE)
                self._again(call, now)
            else:
                self._finish(call, error=call.cutOff())
        waiting = sum(not call.finished and call.peer is None for call in lost)
        if waiting and not self.peers.connected:
            self._told = True
            self._noticeAt = _NEVER
            self._tellCaller(Outage("lost", peer.endpoint, waiting))

    def wake(self, now: float) -> None:
        """Time has passed."""
        self._now = now
        while (call := self._schedule.due(now)) is not None:
            if now >= call.deadline:
                self._expire(call)
                continue
            if call.peer is not None and call.next <= now:
                self._retry(call, now)
            self._plan(call, now)
        if now >= self._health.next:
            for peer in self._health.examine(self._open.values(), now):
                self._evacuate(peer, now)
        if now >= self._noticeAt:
            self._notice()
        self.nextWake = min(self._schedule.next, self._health.next, self._noticeAt)

    # --- where to

    def _send(self, call: Call, now: float, but: Peer | None = None) -> bool:
        """
        Send a call somewhere.

        :param but: where to send it only if there is nowhere else.
        """
        while (peer := self.peers.choose(call, but)) is not None:
            if call.large and not self._plain and not self._fits(call, peer, now):
                if call.finished or call.peer is not None:
                    return True
                continue
            # Noted first: whatever interrupts the sending finds it so.
            call.peer = peer
            peer.inFlight += 1
            peer.call = call
            if peer.connection.send(call.frames(now)):
                # A share of a retry's time is stretched by up to a quarter.
                call.wasSent(now, 1.0 + self._random() / 4 if call.attempts > 1 else 1.0)
                call.endpoint = peer.endpoint
                self._health.begin(now)
                return True
            self._takeBack(call)
            peer.ready = False
        return False

    def _flush(self, now: float) -> None:
        """Send what waits, as far as it is taken."""
        waiting = self._waiting
        while waiting:
            # Taken first: a call may end here, and what is told of that may begin another.
            call = waiting.popleft()
            if not call.finished and call.peer is None:
                if not self._send(call, now):
                    waiting.appendleft(call)
                    if self._plain:
                        self.peers.makeRoom(len(self._waiting))
                    return
                self._plan(call, now)

    def _wait(self, call: Call, now: float) -> None:
        """Let a call wait for a connection."""
        self._waiting.append(call)
        if self._noticeAt == _NEVER and not self._told and not self.peers.connected:
            self._noticeAt = now + NOTICE_AFTER

    def _notice(self) -> None:
        """Tell the caller that calls have waited long."""
        self._noticeAt = _NEVER
        waiting = [each for each in self._waiting if not each.finished and each.peer is None]
        if waiting and not self.peers.connected:
            self._told = True
            self._tellCaller(Outage("unreachable", waiting[0].endpoint, len(waiting)))

    # --- how much a server takes

    def _fits(self, call: Call, peer: Peer, now: float) -> bool:
        """
        Return whether a large call may be sent to a server now.  If not it has ended, or is held until the server has
        told its limits; or the connection takes nothing, and is not ready any more.
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
        excess = peer.limits.exceeded(call.frames(now))
        if excess:
            self._finish(call, error=call.tooLarge(excess))
        elif call.doubted:
            self._finish(call, error=call.cutOff())
        return not call.finished

    def _askLimits(self, peer: Peer, now: float) -> bool:
        """
        Ping a server.

        :return: false if its connection does not take that now.
        """
        ask = Call(
            [b""], now=now, timeout=ASK_PATIENCE, attempts=1, endpoint=peer.endpoint, key=self._newId(), command="ping"
        )
        if not peer.connection.send(ask.frames(now)):
            return False
        ask.done = lambda ask: self._learned(peer, ask)
        ask.peer = peer
        peer.inFlight += 1
        ask.wasSent(now)
        self._open[ask.key] = ask
        self._plan(ask, now)
        return True

    def _learned(self, peer: Peer, ask: Call) -> None:
        """A server has told its limits, or has not: send what is held."""
        held, peer.held = peer.held, {}
        if self._closed:
            return
        if peer.ready:
            peer.limits = SizeLimits() if ask.answer is None else sizeLimits(ask.answer.options)
        for call in held:
            if not call.finished and call.peer is peer:
                self._takeBack(call)
                self._again(call, self._now)

    # --- how a call goes on, and ends

    def _answered(self, call: Call, peer: Peer, answer: ServerReply, now: float) -> None:
        # A broker that knows only the envelope rule returns our own header, which has no status.
        status = answer.options.get("status", "ok") if answer.options else "ok"
        if status == "ok":
            self._settle(call, peer)
            self._finish(call, answer)
        elif status == "partial":
            if call.part is not None and call.peer is peer:
                call.parts += 1
                call.part(list(answer.body))
        elif (call.peer is peer or answer.options.get("code") not in _NOT_RUN) and not (
            isRefusal(answer) and self._refused(call, peer, answer, now)
        ):
            self._settle(call, peer)
            self._finish(call, error=call.failure(answer.options))

    def _settle(self, call: Call, peer: Peer) -> None:
        """A call is answered by one of the servers that have it: the others need not go on."""
        if call.others:
            call.others = tuple(each for each in (*call.others, call.peer) if each not in (peer, None))

    def _refused(self, call: Call, peer: Peer, answer: ServerReply, now: float) -> bool:
        """
        A server will not take a call.

        :return: whether another has been found.
        """
        peer.stopping = peer.stopping or answer.options.get("code") == "stopping"
        call.refused = (*call.refused, peer)
        endpoint = call.endpoint
        self._takeBack(call)
        if call.part is not None and call.parts:
            return False
        if self._send(call, now):
            self._plan(call, now)
            return True
        call.endpoint = endpoint
        return False

    def _again(self, call: Call, now: float) -> None:
        """Send a call once more, or let it wait for a connection."""
        call.refused = ()
        if self._waiting or not self._send(call, now):
            self._wait(call, now)
            self._flush(now)
        self._plan(call, now)

    def _retry(self, call: Call, now: float) -> None:
        """A try has had its time."""
        peer = call.peer
        self._takeBack(call)
        if self._plain:
            # The answer to the first try could not be told from that to the second.
            self.peers.replace(peer)
            self._again(call, now)
        elif self._send(call, now, but=peer):
            if call.peer is not peer:
                call.others = (*call.others, peer)
        else:
            self._wait(call, now)

    def _takeBack(self, call: Call) -> None:
        peer = call.peer
        if peer is not None:
            peer.inFlight -= 1
            peer.call = None
            call.peer = None
            peer.held.pop(call, None)

    def _expire(self, call: Call) -> None:
        peer = call.peer
        # A server that does not tell its limits may still answer.
        if peer is not None and not peer.held and peer.heard < call.sentAt:
            peer.silent = True
        if call.doubted:
            self._finish(call, error=call.cutOff())
        elif peer is None and self.peers.denied:
            self._finish(call, error=call.denied())
        else:
            self._finish(call, error=call.timedOut(peer is not None or self.peers.connected))

    def _finish(self, call: Call, answer: ServerReply | None = None, error: CallError | None = None) -> None:
        del self._open[call.key or call]
        peer = call.peer
        if peer is not None:
            peer.inFlight -= 1
            peer.call = None
            if self._plain and answer is None and not self._closed:
                # What comes there still would be taken for the next call's answer.
                self.peers.replace(peer)
        call.finished = True
        call.peer = None
        call.answer = answer
        call.error = error
        if error is not None:
            error.tries = call.sent
        if call.others and not self._plain:
            self._tell(call.key, call.others)
        call.done(call)

    def _tell(self, key: bytes, peers: tuple[Peer, ...]) -> None:
        """Cancel a request at servers."""
        for peer in dict.fromkeys(peers):
            if peer.ready:
                peer.connection.send([header(key, {"command": "cancel"}), b"", b""])

    # --- when

    def _plan(self, call: Call, now: float) -> None:
        """Note when a call is next to be looked at."""
        self._schedule.plan(call, now, len(self._open))
        self.nextWake = min(self._schedule.next, self._health.next, self._noticeAt)

    def _evacuate(self, peer: Peer, now: float) -> None:
        """Send a connection's calls elsewhere, if there is an elsewhere that answers."""
        for call in [each for each in self._open.values() if each.peer is peer and each.mayMove]:
            if any(each.ready and not each.suspect and each is not peer for each in self.peers):
                self._takeBack(call)
                if self._send(call, now, but=peer):
                    call.others = (*call.others, peer)
                    self._plan(call, now)
                else:
                    self._wait(call, now)
