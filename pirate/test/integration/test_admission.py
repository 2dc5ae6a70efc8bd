# -*- test-case-name: pirate.test.integration.test_admission -*-
"""Tests of access control over TCP, IPv6 and UNIX sockets, after pyzmq's own tests of authentication."""

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
from pirate.hooks import Hooks, RequestFacts
from pirate.server.childprocess import ChildProcess
from pirate.service import JobServer
from pirate.test.support.clients import contextWithoutLinger
from pirate.test.support.dealer import Dealer, isServed, keysOf
from pirate.test.support.gate import PATIENCE
from pirate.test.support.plainworker import PlainWorker, upper
from pirate.test.support.servers import ServerCase
from pirate.testing.zmtp import RawPeer, message
from pirate.wire.frontend import header, parseHeader

PLAIN = {"plain_username": b"admin", "plain_password": b"admin"}


class AdmissionCase(ServerCase):
    """
    A test case with key pairs.

    :ivar keys: the folder with all key pairs.
    :ivar clients: the folder with the public keys of the clients that are admitted: Alice's.
    """

    def setUp(self) -> None:
        """Make the keys."""
        super().setUp()
        self.keys = Path(self.folder)
        self.clients = self.keys / "clients"
        self.clients.mkdir()
        for name in ("server", "alice", "bob"):
            writePair(self.keys, name)
        self.admit("alice")

    def admit(self, name: str) -> None:
        """Admit a client from now on."""
        (self.keys / f"{name}.key").rename(self.clients / f"{name}.key")

    async def serveSecured(self, app: str = "upper", **given: Any) -> JobServer:
        """Start a server that requires keys."""
        curve = {"curveSecret": str(self.keys / "server.key_secret"), "curveClients": str(self.clients)}
        return await self.serve(app, **{**curve, **given})

    def everywhere(self) -> tuple[str, ...]:
        """Return endpoints over TCP, IPv6 and a UNIX socket."""
        return ("tcp://127.0.0.1:*", "tcp://[::1]:*", f"ipc://{self.folder}/frontend")

    async def isServed(self, server: JobServer, **options: Any) -> list[bool]:
        """Return whether a client gets a reply, for each endpoint of a server."""
        return [await deferToThread(isServed, each, **options) for each in server.endpoints.frontend]

    def connect(self, endpoint: str, **options: Any) -> Deferred[Dealer]:
        """Return a socket that is closed when the test ends."""

        def come() -> Dealer:
            dealer = Dealer(endpoint, **options)
            self.addCleanup(dealer.close)
            return dealer

        return deferToThread(come)


class KeyTests(AdmissionCase):
    """A server that requires keys."""

    async def test_matrix(self) -> None:
        """A client needs a listed key and the server's key, at each endpoint; others are served meanwhile."""
        server = await self.serveSecured(frontend=self.everywhere())
        alice, bob = keysOf(self.keys, "alice"), keysOf(self.keys, "bob")
        friend = await self.connect(server.endpoints.frontend[0], **alice)
        for options, admitted in (
            (alice, True),
            (bob, False),
            ({**alice, **keysOf(self.keys, "alice", server="bob")}, False),
            ({}, False),
            (PLAIN, False),
        ):
            self.assertEqual(await self.isServed(server, **options), [admitted] * 3, options)
            self.assertEqual(await deferToThread(friend.ask, b"still there"), [b"STILL THERE"])
        self.assertEqual(server.stats()["refused"], {"unknown-key": 3})
        self.assertEqual(server.stats()["dropped"], {})

    async def test_user(self) -> None:
        """The app gets the user of the key; if any key is admitted, the user is the key."""
        for clients, user in ((str(self.clients), b"alice"), ("*", loadPublic(self.clients / "alice.key"))):
            server = await self.serveSecured("caller", curveClients=clients)
            alice = await self.connect(server.endpoints.frontend[0], **keysOf(self.keys, "alice"))
            self.assertEqual(await deferToThread(alice.ask, b"x"), [user])

    async def test_any(self) -> None:
        """With ``*`` any key is admitted, but not a client without a key."""
        server = await self.serveSecured(curveClients="*")
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "bob")), [True])
        self.assertEqual(await self.isServed(server), [False])

    async def test_runTime(self) -> None:
        """An added key is admitted and a removed key refused at every endpoint, without a reload."""
        self.patch(pirate.auth.keyring, "CHECK_INTERVAL", 0)
        server = await self.serveSecured(frontend=self.everywhere())
        bob = keysOf(self.keys, "bob")
        self.assertEqual(await self.isServed(server, **bob), [False] * 3)
        self.admit("bob")
        self.assertEqual(await self.isServed(server, **bob), [True] * 3)
        (self.clients / "alice.key").unlink()
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "alice")), [False] * 3)
        self.assertEqual(await self.isServed(server, **bob), [True] * 3)

    async def test_reload(self) -> None:
        """A reload reads the keys again; if that fails, the old keys stay, and the workers are still replaced."""
        server = await self.serveSecured()
        self.admit("bob")
        await server.reload()
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "bob")), [True])
        (self.clients / "broken.key").write_text("")
        workers = server.workers
        await server.reload()
        self.assertTrue(self.logged(r"#error\].*curve-clients: the old keys stay: .*broken.key: it contains no"))
        self.assertTrue(set(server.workers) - set(workers))
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "bob")), [True])

    async def test_zapError(self) -> None:
        """If a ZAP request fails with an exception, the peer is refused, and the next request is processed."""
        server = await self.serveSecured()

        def fail(key: bytes) -> str:
            raise ZeroDivisionError

        failing = self.patch(pirate.auth.keyring, "toText", fail)
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "alice")), [False])
        failing.restore()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "alice")), [True])

    async def test_revoked(self) -> None:
        """A connected client whose key is removed gets ``denied``; after its key is back it gets replies again."""
        server = await self.serveSecured()
        alice = await self.connect(server.endpoints.frontend[0], **keysOf(self.keys, "alice"))
        self.assertEqual(await deferToThread(alice.ask, b"in"), [b"IN"])
        (self.clients / "alice.key").rename(self.keys / "alice.key")
        await server.reload()
        key = os.urandom(16)
        alice.send(b"plain")
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
    """A server with address rules."""

    async def test_deny(self) -> None:
        """A denied address is refused; all others are admitted without keys."""
        server = await self.serve("upper", frontend=self.everywhere(), deny=("127.0.0.1",))
        self.assertEqual(await self.isServed(server), [False, True, True])
        self.assertEqual(await self.isServed(server, **PLAIN), [False] * 3)
        self.assertEqual(server.stats()["refused"], {"address-denied": 1})

    async def test_allow(self) -> None:
        """With an allowed network all other addresses are refused, but not a UNIX socket."""
        server = await self.serve("upper", frontend=self.everywhere(), allow=("127.0.0.0/8",), deny=("127.0.0.2",))
        self.assertEqual(await self.isServed(server), [True, False, True])
        self.assertEqual(server.stats()["refused"], {"address-not-allowed": 1})

    async def test_crowd(self) -> None:
        """More simultaneous clients than ZAP requests in one turn are all admitted."""
        self.patch(pirate.transport.zap, "MAX_REQUESTS", 1)
        server = await self.serve("upper", allow=("127.0.0.0/8",))
        await deferToThread(self.comeTogether, server.endpoints.frontend[0], 100)
        self.assertEqual(server.stats()["refused"], {})
        # A client whose ZAP request was lost would connect again after the handshake timeout.
        self.assertEqual(server.stats()["connections"]["frontend"]["accepted"], 100)

    def comeTogether(self, endpoint: str, count: int) -> None:
        """Connect many clients at once, and wait for the reply of each."""
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
        """A listed key does not admit a client from a denied address."""
        server = await self.serveSecured(frontend=self.everywhere(), deny=("::1",))
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "alice")), [True, False, True])

    async def test_claims(self) -> None:
        """The metadata that a peer sends in its handshake does not become its user or its address."""
        asked: list[RequestFacts] = []

        class Recording(Hooks):
            def allowRequest(self, context: RequestFacts) -> bool:
                asked.append(context)
                return False

        for networks in ((), ("127.0.0.0/8",)):
            server = await self.serve("upper", hooks=Recording(), allow=networks)
            with RawPeer(server.endpoints.frontend[0]) as peer:
                lies = {"User-Id": b"admin", "Peer-Address": b"192.0.2.7"}
                self.assertTrue(await deferToThread(peer.handshake, **lies))
                peer.send(message(b"", b"x"))
                await self.until(lambda: bool(asked))
            self.assertEqual(asked.pop(), RequestFacts("127.0.0.1", None, "", 1))

    async def test_plainServer(self) -> None:
        """A server without rules admits clients without credentials."""
        server = await self.serve("upper", frontend=self.everywhere())
        self.assertEqual(await self.isServed(server), [True] * 3)
        self.assertEqual(await self.isServed(server, **PLAIN), [False] * 3)


class WorkerTests(AdmissionCase):
    """The backend of a server that requires keys."""

    async def test_clientKey(self) -> None:
        """A client's key is refused at the backend, and the keys of children are not visible from outside."""
        server = await self.serveSecured(backend=("tcp://127.0.0.1:*", "tcp://[::1]:*"))
        for endpoint in server.endpoints.backend:
            for options in (keysOf(self.keys, "alice"), {}, PLAIN):
                dealer = await self.connect(endpoint, **options)
                self.assertFalse(dealer.admitted)
        self.assertEqual(server.stats()["refused"], {"unknown-key": 2})
        shown = keysOf(self.keys, "alice")["curve_serverkey"]
        for pid in server.workers:
            for name in ("cmdline", "environ"):
                self.assertNotIn(shown, Path(f"/proc/{pid}/{name}").read_bytes())

    async def test_external(self) -> None:
        """An external worker needs a key that is listed for workers."""
        workers = self.keys / "workers"
        workers.write_text((self.keys / "bob.key").read_text())
        server = await self.serveSecured(workers=0, externalWorkers=True, curveWorkers=str(workers))
        stranger = await self.connect(server.endpoints.backend[0], **keysOf(self.keys, "alice"))
        self.assertFalse(stranger.admitted)
        worker = PlainWorker(server, b"remote", upper, options=keysOf(self.keys, "bob"))
        self.addCleanup(worker.close)
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "alice")), [True])
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "bob")), [False])

    async def test_socket(self) -> None:
        """Children on a UNIX socket need no keys; clients do."""
        server = await self.serveSecured(backend=f"ipc://{self.folder}/backend")
        self.assertEqual(await self.isServed(server, **keysOf(self.keys, "alice")), [True])
        self.assertEqual(await self.isServed(server), [False])
        self.assertEqual(os.stat(f"{self.folder}/backend").st_mode & 0o777, 0o700)


class ImpostorTests(AdmissionCase):
    """An attacker that reaches a backend without keys, and knows what a child knows."""

    def children(self, then: Callable[[ChildProcess], None] = lambda child: None) -> list[ChildProcess]:
        """
        Return the list of the children that this test starts from now on.

        :param then: called with each child that has just been started.
        """
        children: list[ChildProcess] = []
        spawn = ChildProcess.spawn

        def spy(child: ChildProcess, *arguments: Any) -> None:
            spawn(child, *arguments)
            children.append(child)
            then(child)

        self.patch(ChildProcess, "spawn", spy)
        return children

    def claim(self, server: JobServer, child: ChildProcess) -> Dealer:
        """Return an attacker that connects under the routing id of a child."""
        impostor = Dealer(server.endpoints.backend[0], identity=child.identity)
        self.addCleanup(impostor.close)
        self.assertTrue(impostor.admitted)
        return impostor

    async def test_after(self) -> None:
        """An attacker with the routing id of a connected child is ignored, and the child is not disturbed."""
        children = self.children()
        server = await self.serve("pid", externalWorkers=True)
        [child] = children
        impostor = self.claim(server, child)
        info = json.dumps({"pirate": 1, "pid": child.pid, "token": child.token, "credit": 64}).encode()
        for frames in ([b"exiting"], [b"waiting", info], [b"waiting"]):
            impostor.send(*frames)
        replies = [await self.ask(server, b"") for _ in range(5)]
        self.assertEqual(replies, [[b"%d" % child.pid]] * 5)
        self.assertFalse(impostor.socket.poll(0))
        self.assertEqual((server.stats()["dropped"], list(server.workers.values())), ({}, ["waiting"]))
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{child.pid}/{name}").read_bytes()
            self.assertFalse([each for each in (child.token.encode(), child.identity) if each in shown])

    async def test_dead(self) -> None:
        """The routing id and the token of a child that has ended are refused."""
        children = self.children()
        server = await self.serve("pid")
        os.kill(children[0].pid, signal.SIGKILL)
        await self.until(lambda: len(children) == 2 and list(server.workers.values()) == ["waiting"])
        impostor = self.claim(server, children[0])
        info = {"pirate": 1, "pid": children[0].pid, "token": children[0].token, "credit": 64}
        impostor.send(b"waiting", json.dumps(info).encode())
        await self.until(lambda: bool(self.logged("unknown-worker")))
        replies = {(await self.ask(server, b""))[0] for _ in range(3)}
        self.assertEqual((replies, impostor.socket.poll(0)), ({b"%d" % children[1].pid}, 0))
        self.assertEqual(server.stats()["dropped"], {"unknown-worker": 1})

    async def test_before(self) -> None:
        """
        An attacker that takes the routing id before the child connects gets no request, even if external workers are
        admitted; the child, which cannot connect, is replaced.
        """
        impostors: list[Dealer] = []

        def take(child: ChildProcess) -> None:
            if len(children) == 2:
                impostors.append(self.claim(server, child))
                impostors[0].send(b"waiting")

        children = self.children(take)
        server = await self.serve("pid", externalWorkers=True, startTimeout=1.5, maxServers=2)
        server.grow()
        await self.until(lambda: len(children) > 2 and list(server.workers.values()) == ["waiting"] * 2)
        self.assertFalse(set(server.workers) & {children[1].pid})
        replies = {(await self.ask(server, b""))[0] for _ in range(6)}
        self.assertEqual(replies, {b"%d" % pid for pid in server.workers})
        self.assertFalse(impostors[0].socket.poll(0))
        self.assertEqual(server.stats()["dropped"], {"wrong-token": 1})

    async def test_forgedReply(self) -> None:
        """An admitted worker cannot reply to another worker's request, although it can guess the id."""
        server = await self.serve(workers=0, externalWorkers=True)
        workers, asked = [], []
        for name in (b"impostor", b"honest"):
            worker = await self.connect(server.endpoints.backend[0], identity=name)
            worker.send(b"waiting")
            asked.append(self.ask(server, name))
            _, request, _, body = await deferToThread(worker.socket.recv_multipart)
            self.assertEqual(body, name)
            workers.append((worker, request))
        (impostor, mine), (honest, anothers) = workers
        self.assertEqual(int.from_bytes(anothers), int.from_bytes(mine) + 1)
        impostor.send(anothers, b"", b"forged")
        impostor.send(mine, b"", b"mine")
        self.assertEqual(await asked[0], [b"mine"])
        honest.send(anothers, b"", b"right")
        self.assertEqual((await asked[1], server.stats()["late"]), ([b"right"], 1))

    async def test_anotherProcess(self) -> None:
        """On a UNIX socket a stolen token is refused, because ZeroMQ reports the process of the peer."""
        impostors: list[Dealer] = []

        def take(child: ChildProcess) -> None:
            if len(children) == 2:
                impostor = self.claim(server, child)
                impostors.append(impostor)
                info = {"pirate": 1, "pid": child.pid, "token": child.token, "credit": 64}
                impostor.send(b"waiting", json.dumps(info).encode())

        children = self.children(take)
        server = await self.serve("pid", maxServers=2, backend=f"ipc://{self.folder}/backend")
        server.grow()
        await self.until(lambda: bool(self.logged("wrong-process")))
        self.assertEqual(await self.ask(server, b""), [b"%d" % children[0].pid])
        self.assertFalse(impostors[0].socket.poll(0))
        self.assertEqual(server.stats()["dropped"], {"wrong-process": 1})
        await server.abort()
