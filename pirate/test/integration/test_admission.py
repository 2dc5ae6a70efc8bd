# -*- test-case-name: pirate.test.integration.test_admission -*-
"""
Who may call, and who may work: pyzmq's own tests of authentication, on a server, over TCP, IPv6 and UNIX sockets.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

import pirate.auth.keyring
import pirate.transport.zap
from pirate.auth.keygen import writePair
from pirate.auth.keys import loadPublic
from pirate.hooks import Hooks, RequestContext
from pirate.server.childprocess import ChildProcess
from pirate.service import JobServer
from pirate.test.support.clients import contextWithoutLinger
from pirate.test.support.gate import PATIENCE
from pirate.test.support.plainworker import PlainWorker, upper
from pirate.test.support.servers import ServerCase
from pirate.test.support.visitor import Visitor, keysOf, knock
from pirate.testing.zmtp import RawPeer, message
from pirate.wire.frontend import header, parseHeader

PLAIN = {"plain_username": b"admin", "plain_password": b"admin"}


class AdmissionCase(ServerCase):
    """
    A folder with key pairs.

    :ivar keys: the folder.
    :ivar clients: the folder with the public keys of those who may call: Alice's.
    """

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.keys = Path(self.folder)
        self.clients = self.keys / "clients"
        self.clients.mkdir()
        for name in ("server", "alice", "bob"):
            writePair(self.keys, name)
        self.admit("alice")

    def admit(self, name: str) -> None:
        """Let somebody call from now on."""
        (self.keys / f"{name}.key").rename(self.clients / f"{name}.key")

    async def guarded(self, app: str = "upper", **given: Any) -> JobServer:
        """A server that asks for keys."""
        curve = {"curveSecret": str(self.keys / "server.key_secret"), "curveClients": str(self.clients)}
        return await self.serve(app, **{**curve, **given})

    def everywhere(self) -> tuple[str, ...]:
        """Endpoints over TCP, IPv6 and a UNIX socket."""
        return ("tcp://127.0.0.1:*", "tcp://[::1]:*", f"ipc://{self.folder}/frontend")

    async def knock(self, server: JobServer, **options: Any) -> list[bool]:
        """Whether a client is admitted and answered, at each of a server's endpoints."""
        return [await deferToThread(knock, each, **options) for each in server.endpoints.frontend]

    def visit(self, endpoint: str, **options: Any) -> Deferred[Visitor]:
        """A visitor, who is gone when the test ends."""

        def come() -> Visitor:
            visitor = Visitor(endpoint, **options)
            self.addCleanup(visitor.close)
            return visitor

        return deferToThread(come)


class KeyTests(AdmissionCase):
    """A server that asks for keys."""

    async def test_matrix(self) -> None:
        """Only a listed key opens, and only to those who know the server's; everywhere, and while others are served."""
        server = await self.guarded(frontend=self.everywhere())
        alice, bob = keysOf(self.keys, "alice"), keysOf(self.keys, "bob")
        friend = await self.visit(server.endpoints.frontend[0], **alice)
        for options, admitted in (
            (alice, True),
            (bob, False),
            ({**alice, **keysOf(self.keys, "alice", server="bob")}, False),
            ({}, False),
            (PLAIN, False),
        ):
            self.assertEqual(await self.knock(server, **options), [admitted] * 3, options)
            self.assertEqual(await deferToThread(friend.ask, b"still there"), [b"STILL THERE"])
        self.assertEqual(server.stats()["refused"], {"unknown-key": 3})
        self.assertEqual(server.stats()["dropped"], {})

    async def test_user(self) -> None:
        """The app is told the name of the key's holder; where any key opens, the key itself."""
        for clients, user in ((str(self.clients), b"alice"), ("*", loadPublic(self.clients / "alice.key"))):
            server = await self.guarded("caller", curveClients=clients)
            alice = await self.visit(server.endpoints.frontend[0], **keysOf(self.keys, "alice"))
            self.assertEqual(await deferToThread(alice.ask, b"x"), [user])

    async def test_any(self) -> None:
        """With a star any key opens, but it takes a key."""
        server = await self.guarded(curveClients="*")
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "bob")), [True])
        self.assertEqual(await self.knock(server), [False])

    async def test_runTime(self) -> None:
        """A key that is added opens, one that is removed does not any more, everywhere, and nobody need say so."""
        self.patch(pirate.auth.keyring, "CHECK_INTERVAL", 0)
        server = await self.guarded(frontend=self.everywhere())
        bob = keysOf(self.keys, "bob")
        self.assertEqual(await self.knock(server, **bob), [False] * 3)
        self.admit("bob")
        self.assertEqual(await self.knock(server, **bob), [True] * 3)
        (self.clients / "alice.key").unlink()
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "alice")), [False] * 3)
        self.assertEqual(await self.knock(server, **bob), [True] * 3)

    async def test_reload(self) -> None:
        """A reload reads the keys anew; if they cannot be read the old ones stay, and the workers are replaced."""
        server = await self.guarded()
        self.admit("bob")
        await server.reload()
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "bob")), [True])
        (self.clients / "broken.key").write_text("")
        workers = server.workers
        await server.reload()
        self.assertTrue(self.logged(r"#error\].*curve-clients: the old keys stay: .*broken.key: it contains no"))
        self.assertTrue(set(server.workers) - set(workers))
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "bob")), [True])

    async def test_unanswerable(self) -> None:
        """A question that cannot be answered is a no, and the next one is answered."""
        server = await self.guarded()

        def fail(key: bytes) -> str:
            raise ZeroDivisionError

        failing = self.patch(pirate.auth.keyring, "toText", fail)
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "alice")), [False])
        failing.restore()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "alice")), [True])

    async def test_revoked(self) -> None:
        """Who is connected when their key is removed is not served any more; with a key again, they are."""
        server = await self.guarded()
        alice = await self.visit(server.endpoints.frontend[0], **keysOf(self.keys, "alice"))
        self.assertEqual(await deferToThread(alice.ask, b"in"), [b"IN"])
        (self.clients / "alice.key").rename(self.keys / "alice.key")
        await server.reload()
        key = os.urandom(16)
        alice.say(b"plain")
        alice.socket.send_multipart([header(key, {}), b"", b"native"])
        answer = await deferToThread(alice.socket.recv_multipart)
        told = parseHeader(answer[0])
        assert told is not None
        self.assertEqual((told[0], told[1]["code"], told[1]["message"]), (key, "denied", "its key has been removed"))
        self.assertEqual(server.stats()["dropped"], {"key-removed": 2})
        self.admit("alice")
        await server.reload()
        self.assertEqual(await deferToThread(alice.ask, b"again"), [b"AGAIN"])


class AddressTests(AdmissionCase):
    """A server that asks where one comes from."""

    async def test_deny(self) -> None:
        """Who is denied does not get in; everybody else does, with no key and nothing else to show."""
        server = await self.serve("upper", frontend=self.everywhere(), deny=("127.0.0.1",))
        self.assertEqual(await self.knock(server), [False, True, True])
        self.assertEqual(await self.knock(server, **PLAIN), [False] * 3)
        self.assertEqual(server.stats()["refused"], {"address-denied": 1})

    async def test_allow(self) -> None:
        """If some are allowed, all others are refused; a UNIX socket has no address, but a mode."""
        server = await self.serve("upper", frontend=self.everywhere(), allow=("127.0.0.0/8",), deny=("127.0.0.2",))
        self.assertEqual(await self.knock(server), [True, False, True])
        self.assertEqual(server.stats()["refused"], {"address-not-allowed": 1})

    async def test_crowd(self) -> None:
        """Of many who come at once, more than are asked in one turn of the reactor, nobody is forgotten."""
        self.patch(pirate.transport.zap, "MAX_REQUESTS", 1)
        server = await self.serve("upper", allow=("127.0.0.0/8",))
        await deferToThread(self.comeTogether, server.endpoints.frontend[0], 100)
        self.assertEqual(server.stats()["refused"], {})
        # One whose question was forgotten comes again after the time for handshakes.
        self.assertEqual(server.stats()["connections"]["frontend"]["accepted"], 100)

    def comeTogether(self, endpoint: str, count: int) -> None:
        """So many clients connect at once, and each waits for its answer."""
        with contextWithoutLinger() as context:
            clients = [context.socket(zmq.REQ) for _ in range(count)]
            for client in clients:
                client.rcvtimeo = int(PATIENCE * 1000)
                client.connect(endpoint)
                client.send(b"x")
            self.assertEqual({client.recv() for client in clients}, {b"X"})
            for client in clients:
                client.close()

    async def test_both(self) -> None:
        """A good key does not help at a denied address."""
        server = await self.guarded(frontend=self.everywhere(), deny=("::1",))
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "alice")), [True, False, True])

    async def test_claims(self) -> None:
        """What a peer says of itself in the handshake is not believed, whether or not there is anything to ask."""
        asked: list[RequestContext] = []

        class Doorkeeper(Hooks):
            def allowRequest(self, context: RequestContext) -> bool:
                asked.append(context)
                return False

        for networks in ((), ("127.0.0.0/8",)):
            server = await self.serve("upper", hooks=Doorkeeper(), allow=networks)
            with RawPeer(server.endpoints.frontend[0]) as peer:
                lies = {"User-Id": b"admin", "Peer-Address": b"192.0.2.7"}
                self.assertTrue(await deferToThread(peer.handshake, **lies))
                peer.send(message(b"", b"x"))
                await self.until(lambda: bool(asked))
            self.assertEqual(asked.pop(), RequestContext("127.0.0.1", None, "", 1))

    async def test_plainServer(self) -> None:
        """A server that asks nothing admits those who say nothing."""
        server = await self.serve("upper", frontend=self.everywhere())
        self.assertEqual(await self.knock(server), [True] * 3)
        self.assertEqual(await self.knock(server, **PLAIN), [False] * 3)


class WorkerTests(AdmissionCase):
    """The workers' side of a server that asks for keys."""

    async def test_nobodyElse(self) -> None:
        """A client's key, or none, opens the clients' door only; the children's are not to be seen from outside."""
        server = await self.guarded(backend=("tcp://127.0.0.1:*", "tcp://[::1]:*"))
        for endpoint in server.endpoints.backend:
            for options in (keysOf(self.keys, "alice"), {}, PLAIN):
                visitor = await self.visit(endpoint, **options)
                self.assertFalse(visitor.admitted)
        self.assertEqual(server.stats()["refused"], {"unknown-key": 2})
        shown = keysOf(self.keys, "alice")["curve_serverkey"]
        for pid in server.workers:
            for name in ("cmdline", "environ"):
                self.assertNotIn(shown, Path(f"/proc/{pid}/{name}").read_bytes())

    async def test_external(self) -> None:
        """An external worker needs a key that is listed for workers; with it, it works."""
        workers = self.keys / "workers"
        workers.write_text((self.keys / "bob.key").read_text())
        server = await self.guarded(workers=0, externalWorkers=True, curveWorkers=str(workers))
        stranger = await self.visit(server.endpoints.backend[0], **keysOf(self.keys, "alice"))
        self.assertFalse(stranger.admitted)
        worker = PlainWorker(server, b"remote", upper, options=keysOf(self.keys, "bob"))
        self.addCleanup(worker.close)
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "alice")), [True])
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "bob")), [False])

    async def test_socket(self) -> None:
        """On a UNIX socket of their own our workers need no keys, while clients do."""
        server = await self.guarded(backend=f"ipc://{self.folder}/backend")
        self.assertEqual(await self.knock(server, **keysOf(self.keys, "alice")), [True])
        self.assertEqual(await self.knock(server), [False])
        self.assertEqual(os.stat(f"{self.folder}/backend").st_mode & 0o777, 0o700)


class RogueTests(AdmissionCase):
    """Somebody who reaches the backend without keys, and knows all that a child knows."""

    def children(self, then: Callable[[ChildProcess], None] = lambda child: None) -> list[ChildProcess]:
        """
        The children of servers in this test.

        :param then: called with each that has just been started.
        """
        children: list[ChildProcess] = []
        spawn = ChildProcess.spawn

        def spy(child: ChildProcess, *arguments: Any) -> None:
            spawn(child, *arguments)
            children.append(child)
            then(child)

        self.patch(ChildProcess, "spawn", spy)
        return children

    def claim(self, server: JobServer, child: ChildProcess) -> Visitor:
        """Somebody takes a child's routing id."""
        rogue = Visitor(server.endpoints.backend[0], identity=child.identity)
        self.addCleanup(rogue.close)
        self.assertTrue(rogue.admitted)
        return rogue

    async def test_after(self) -> None:
        """Whoever takes the routing id of a child that is there is not heard and hears nothing; nobody is disturbed."""
        children = self.children()
        server = await self.serve("pid", externalWorkers=True)
        [child] = children
        rogue = self.claim(server, child)
        info = json.dumps({"pirate": 1, "pid": child.pid, "token": child.token, "credit": 64}).encode()
        for frames in ([b"exiting"], [b"waiting", info], [b"waiting"]):
            rogue.say(*frames)
        replies = [await self.ask(server, b"") for _ in range(5)]
        self.assertEqual(replies, [[b"%d" % child.pid]] * 5)
        self.assertFalse(rogue.socket.poll(0))
        self.assertEqual((server.stats()["dropped"], list(server.workers.values())), ({}, ["waiting"]))
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{child.pid}/{name}").read_bytes()
            self.assertFalse([each for each in (child.token.encode(), child.identity) if each in shown])

    async def test_dead(self) -> None:
        """With the name and the token of a child that has ended nobody is anything."""
        children = self.children()
        server = await self.serve("pid")
        os.kill(children[0].pid, signal.SIGKILL)
        await self.until(lambda: len(children) == 2 and list(server.workers.values()) == ["waiting"])
        rogue = self.claim(server, children[0])
        info = {"pirate": 1, "pid": children[0].pid, "token": children[0].token, "credit": 64}
        rogue.say(b"waiting", json.dumps(info).encode())
        await self.until(lambda: bool(self.logged("unknown-worker")))
        replies = {(await self.ask(server, b""))[0] for _ in range(3)}
        self.assertEqual((replies, rogue.socket.poll(0)), ({b"%d" % children[1].pid}, 0))
        self.assertEqual(server.stats()["dropped"], {"unknown-worker": 1})

    async def test_before(self) -> None:
        """
        Whoever takes it before the child does gets no work, even where external workers are welcome; the child that
        cannot be heard is replaced by one of another name.
        """
        rogues: list[Visitor] = []

        def take(child: ChildProcess) -> None:
            if len(children) == 2:
                rogues.append(self.claim(server, child))
                rogues[0].say(b"waiting")

        children = self.children(take)
        server = await self.serve("pid", externalWorkers=True, startTimeout=1.5, maxServers=2)
        server.grow()
        await self.until(lambda: len(children) > 2 and list(server.workers.values()) == ["waiting"] * 2)
        self.assertFalse(set(server.workers) & {children[1].pid})
        replies = {(await self.ask(server, b""))[0] for _ in range(6)}
        self.assertEqual(replies, {b"%d" % pid for pid in server.workers})
        self.assertFalse(rogues[0].socket.poll(0))
        self.assertEqual(server.stats()["dropped"], {"wrong-token": 1})

    async def test_anothersAnswer(self) -> None:
        """A worker that is let in cannot answer what another one holds, though it can guess the number."""
        server = await self.serve(workers=0, externalWorkers=True)
        workers, asked = [], []
        for name in (b"rogue", b"honest"):
            worker = await self.visit(server.endpoints.backend[0], identity=name)
            worker.say(b"waiting")
            asked.append(self.ask(server, name))
            _, request, _, body = await deferToThread(worker.socket.recv_multipart)
            self.assertEqual(body, name)
            workers.append((worker, request))
        (rogue, mine), (honest, anothers) = workers
        self.assertEqual(int.from_bytes(anothers), int.from_bytes(mine) + 1)
        rogue.say(anothers, b"", b"forged")
        rogue.say(mine, b"", b"mine")
        self.assertEqual(await asked[0], [b"mine"])
        honest.say(anothers, b"", b"right")
        self.assertEqual((await asked[1], server.stats()["late"]), ([b"right"], 1))

    async def test_anotherProcess(self) -> None:
        """On a UNIX socket not even the token helps, for ZeroMQ tells which process it is that shows it."""
        rogues: list[Visitor] = []

        def take(child: ChildProcess) -> None:
            if len(children) == 2:
                rogue = self.claim(server, child)
                rogues.append(rogue)
                info = {"pirate": 1, "pid": child.pid, "token": child.token, "credit": 64}
                rogue.say(b"waiting", json.dumps(info).encode())

        children = self.children(take)
        server = await self.serve("pid", maxServers=2, backend=f"ipc://{self.folder}/backend")
        server.grow()
        await self.until(lambda: bool(self.logged("wrong-process")))
        self.assertEqual(await self.ask(server, b""), [b"%d" % children[0].pid])
        self.assertFalse(rogues[0].socket.poll(0))
        self.assertEqual(server.stats()["dropped"], {"wrong-process": 1})
        await server.abort()
