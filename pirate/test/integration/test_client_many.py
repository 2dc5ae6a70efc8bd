# -*- test-case-name: pirate.test.integration.test_client_many -*-
"""Tests of the clients' further features: many requests at a time, codecs, hooks, keys, pickled calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import pickle
import queue
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import zmq
from twisted.trial.unittest import SkipTest

from pirate.client import (
    AppError,
    AsyncClient,
    CallError,
    Cancelled,
    Client,
    Denied,
    Executor,
    MisuseError,
    Unavailable,
)
from pirate.client.pickles import RemoteTraceback
from pirate.errors import ConfigurationError
from pirate.pickled import CALL, RETURNED, app, isTrusted
from pirate.test.support.apis import APIS, Api
from pirate.test.support.scripted import PATIENCE, ClientCase, Script, echo, native, perl
from pirate.wire.words import Code
from pirate.worker.app import Context


def picky(frames: list[bytes]) -> list[list[bytes]]:
    """Fail on one payload, never answer another, and return the rest."""
    if frames[-1] == b"bad":
        return [native(frames).error(Code.APP_ERROR, "ValueError: bad")]
    return [] if frames[-1] == b"held" else [frames]


class Watched:
    """A picky broker that records what it does not answer, and what is cancelled."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self._cancelled: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __call__(self, frames: list[bytes]) -> list[list[bytes]]:
        """See ``Script``."""
        request = native(frames)
        if request.command == "cancel":
            self._cancelled.put(request.requestId)
            return []
        if frames[-1] == b"held":
            self.held.append(request.requestId)
        return picky(frames)

    def awaitCancel(self) -> None:
        """Wait until the last unanswered request is cancelled."""
        while self._cancelled.get(timeout=PATIENCE) != self.held[-1]:
            pass


class Backwards:
    """A broker that answers a number of requests together, the last one first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held: list[list[bytes]] = []

    def __call__(self, frames: list[bytes]) -> list[list[bytes]]:
        """See ``Script``."""
        self.held.insert(0, frames)
        if len(self.held) < self.size:
            return []
        held, self.held = self.held, []
        return held


class ApiMapTests(ClientCase):
    """``map`` of every client."""

    def each(self, makeScript: Callable[[], Script], act: Callable[[Api], object], *without: str) -> None:
        """Do something with every client but those of some kinds, each with a broker of its own."""
        for kind in APIS:
            if kind.name not in without:
                api = kind(self.broker(makeScript()).endpoint, timeout=PATIENCE)
                try:
                    act(api)
                except Exception as error:
                    error.add_note(f"with the {kind.name} client")
                    raise
                finally:
                    api.close()

    def test_order(self) -> None:
        """Replies come in the order of the payloads, or as they arrive; ``concurrency`` limits the calls in flight."""
        payloads = [b"%d" % number for number in range(8)]

        def act(api: Api) -> None:
            self.assertEqual(api.map(payloads, concurrency=4), payloads)
            found = api.map(payloads, concurrency=4, ordered=False)
            self.assertEqual(found, [b"3", b"2", b"1", b"0", b"7", b"6", b"5", b"4"])

        self.each(lambda: Backwards(4), act, "executor")

    def test_allAtOnce(self) -> None:
        """An executor submits all jobs at once, and gives their results in order, or as they arrive."""
        payloads = [b"%d" % number for number in range(4)]

        def act(api: Api) -> None:
            self.assertEqual(api.map(payloads), payloads)
            self.assertEqual(api.map(payloads, ordered=False), payloads[::-1])

        self.each(lambda: Backwards(4), act, "blocking", "asyncio", "twisted")

    def test_headOfLine(self) -> None:
        """While the first reply of an ordered map is missing, the calls behind it go on."""
        payloads = [b"%d" % number for number in range(8)]

        def lateFirst() -> Script:
            first: list[list[bytes]] = []

            def script(frames: list[bytes]) -> list[list[bytes]]:
                if frames[-1] == b"0":
                    first.append(frames)
                    return []
                return [frames, *first] if frames[-1] == b"7" else [frames]

            return script

        self.each(lateFirst, lambda api: self.assertEqual(api.map(payloads, concurrency=2), payloads))

    def test_progress(self) -> None:
        """``progress`` is told how many calls have ended, and how many there are if that is known."""

        def act(api: Api) -> None:
            seen: list[tuple[int, int | None]] = []
            for ordered in (True, False):
                api.map([b"a", b"b"], ordered=ordered, progress=lambda done, total: seen.append((done, total)))
                api.map(iter([b"c"]), ordered=ordered, progress=lambda done, total: seen.append((done, total)))
            self.assertEqual(seen, [(1, 2), (2, 2), (1, None)] * 2)

        self.each(lambda: echo, act, "executor")

    def test_executorProgress(self) -> None:
        """An executor always knows how many jobs there are."""

        def act(api: Api) -> None:
            seen: list[tuple[int, int | None]] = []
            api.map(iter([b"a", b"b"]), progress=lambda done, total: seen.append((done, total)))
            self.assertEqual(seen, [(1, 2), (2, 2)])

        self.each(lambda: echo, act, "blocking", "asyncio", "twisted")

    def test_errors(self) -> None:
        """An error comes in the place of its reply, or is raised and ends the map."""

        def act(api: Api) -> None:
            found = api.map([b"a", b"bad", b"b"], return_exceptions=True)
            self.assertEqual([found[0], type(found[1]), found[2]], [b"a", AppError, b"b"])

        def ended(api: Api) -> None:
            for ordered in (True, False):
                self.assertRaises(AppError, api.map, [b"bad", b"held"], ordered=ordered)

        self.each(lambda: picky, act, "executor")
        self.each(lambda: picky, ended)

    def test_cancelsTheRest(self) -> None:
        """The calls in flight are cancelled at the server when an error ends a map, or when it is closed."""
        watched = Watched()

        def act(api: Api) -> None:
            self.assertRaises(AppError, api.map, [b"held", b"bad"], ordered=False)
            watched.awaitCancel()
            self.assertEqual(api.map([b"a", b"held"], most=1), [b"a"])
            watched.awaitCancel()

        self.each(lambda: watched, act, "executor")

    def test_closed(self) -> None:
        """A map that is closed gives no more replies."""

        async def main() -> None:
            async with AsyncClient(self.broker(picky).endpoint, timeout=PATIENCE) as client:
                replies = client.map([b"a", b"held"])
                self.assertEqual(await anext(replies), b"a")
                await replies.aclose()
                self.assertEqual([reply async for reply in replies], [])

        asyncio.run(main())

    def test_cancelledTask(self) -> None:
        """Cancelling a coroutine that waits for a reply cancels the calls in flight."""
        watched = Watched()
        broker = self.broker(watched)

        async def main() -> None:
            async with AsyncClient(broker.endpoint, timeout=PATIENCE) as client:
                task = asyncio.ensure_future(anext(client.map([b"held"])))
                await asyncio.to_thread(broker.next)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(watched.awaitCancel)

        asyncio.run(main())

    def test_forgottenTask(self) -> None:
        """An asynchronous map that is no longer used cancels the calls in flight."""
        watched = Watched()

        async def main() -> None:
            async with AsyncClient(self.broker(watched).endpoint, timeout=PATIENCE) as client:
                async for reply in client.map([b"a", b"held"]):
                    self.assertEqual(reply, b"a")
                    break
                await asyncio.to_thread(watched.awaitCancel)

        asyncio.run(main())


class MapTests(ClientCase):
    """``Client.map``."""

    def test_lazy(self) -> None:
        """Payloads are taken as needed, so there may be infinitely many; each may have several frames."""
        taken: list[int] = []

        def endless() -> Iterator[Any]:
            number = 0
            while True:
                taken.append(number)
                yield (b"x", b"%d" % number)
                number += 1

        client = Client(self.broker(echo).endpoint, codec="frames", timeout=PATIENCE)
        self.addCleanup(client.close)
        replies = client.map(endless(), concurrency=2)
        self.assertEqual([next(replies) for _ in range(5)], [[b"x", b"%d" % number] for number in range(5)])
        self.assertLessEqual(len(taken), 10)

    def test_forgotten(self) -> None:
        """A map that is not read to its end is cancelled when the client is next used."""
        seen: list[tuple[str, bytes]] = []

        def patient(frames: list[bytes]) -> list[list[bytes]]:
            request = native(frames)
            seen.append((request.command, request.requestId))
            return [] if request.body == [b"held"] else [frames]

        client = self.client(self.broker(patient).endpoint)
        for reply in client.map([b"a", b"held"]):
            self.assertEqual(reply, b"a")
            break
        client.call(b"b")
        client.call(b"c")
        self.assertIn(("cancel", seen[1][1]), seen)

    def test_errors(self) -> None:
        """An error is raised in its place and ends the map, or is returned in its place."""
        client = self.client(self.broker(picky).endpoint)
        found = list(client.map([b"a", b"bad", b"b"], return_exceptions=True))
        self.assertEqual([found[0], type(found[1]), found[2]], [b"a", AppError, b"b"])
        replies = client.map([b"a", b"bad", b"held"])
        self.assertEqual(next(replies), b"a")
        self.assertRaises(AppError, next, replies)
        self.assertRaises(StopIteration, next, replies)

    def test_arguments(self) -> None:
        """Invalid arguments raise an error before anything is sent."""
        client = self.client(self.refused())
        self.assertRaises(TypeError, client.map, b"one payload")
        for wrong in (0, -1, True, 1.5, None, 10**9):
            error = self.assertRaises(ConfigurationError, client.map, [], concurrency=wrong)
            self.assertIn(repr(wrong), str(error))
        self.assertRaises(ConfigurationError, Client, [])
        self.assertRaises(ConfigurationError, Client, [6660, "nowhere"])
        self.assertRaises(ConfigurationError, Client, None)
        self.assertIn("'yaml'", str(self.assertRaises(ConfigurationError, Client, codec="yaml")))

    def test_threads(self) -> None:
        """Maps, calls and futures of several threads work side by side."""
        client = self.client(self.broker(echo).endpoint)
        payloads = [b"%d" % number for number in range(200)]
        found: list[bool] = []

        def work(act: Callable[[], list[Any]]) -> None:
            found.append(act() == payloads)

        acts = [
            lambda: list(client.map(payloads, concurrency=7)),
            lambda: [client.call(each) for each in payloads],
            lambda: [future.result(PATIENCE) for future in [client.submit(each) for each in payloads]],
        ]
        threads = [threading.Thread(target=work, args=(act,)) for act in acts * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(found, [True] * 6)

    def test_plainThreads(self) -> None:
        """In plain mode too, where each call in flight has a connection of its own."""
        client = self.client(self.broker(perl).endpoint, plain=True)
        self.assertEqual(
            list(client.map([b"%d" % n for n in range(50)], concurrency=5)), [b"%d" % n for n in range(50)]
        )


class FutureTests(ClientCase):
    """``Client.submit``, and ``Executor``."""

    def test_callback(self) -> None:
        """The callback of a future may call, wait for the reply, and close the client."""
        client = self.client(self.broker(echo).endpoint)
        done = threading.Event()
        found: list[Any] = []

        def then(future: Any) -> None:
            found.extend([future.result(), client.call(b"again")])
            client.close()
            done.set()

        client.submit(b"x").add_done_callback(then)
        self.assertTrue(done.wait(PATIENCE))
        self.assertEqual(found, [b"x", b"again"])
        self.assertRaises(MisuseError, client.call, b"y")

    def test_cancelById(self) -> None:
        """A request can be cancelled by its id."""

        def obedient(frames: list[bytes]) -> list[list[bytes]]:
            request = native(frames)
            return [request.error(Code.CANCELLED, "")] if request.command == "cancel" else []

        broker = self.broker(obedient)
        client = self.client(broker.endpoint)
        future = client.submit(b"x")
        broker.next()
        client.cancel(future.request)
        self.assertIsInstance(future.exception(PATIENCE), Cancelled)
        self.assertRaises(ConfigurationError, client.cancel, b"no id")
        with Client(self.refused(), plain=True) as plain:
            self.assertRaises(ConfigurationError, plain.cancel, bytes(16))

    def test_waits(self) -> None:
        """The functions of ``concurrent.futures`` accept these futures."""
        with Executor(self.broker(Backwards(3)).endpoint) as executor:
            futures = [executor.submit(b"%d" % number) for number in range(3)]
            self.assertEqual(concurrent.futures.wait(futures, PATIENCE).not_done, set())
            completed = [each.result() for each in concurrent.futures.as_completed(futures)]
            self.assertEqual(sorted(completed), [b"0", b"1", b"2"])

    def test_executor(self) -> None:
        """After a shutdown no jobs are accepted, and earlier ones are done; a map ends at its timeout."""
        executor = Executor(self.broker(picky).endpoint)
        futures = [executor.submit(b"%d" % number) for number in range(10)]
        executor.shutdown()
        self.assertTrue(all(future.done() for future in futures))
        self.assertRaises(RuntimeError, executor.submit, b"x")
        executor = Executor(self.broker(picky).endpoint)
        held = executor.submit(b"held")
        self.assertRaises(TimeoutError, list, executor.map([b"held"], timeout=0.05))
        with Executor(self.broker(picky).endpoint, codec="frames") as several:
            self.assertEqual(list(several.map([b"a", b"b"], [b"1", b"2"])), [[b"a", b"1"], [b"b", b"2"]])
        executor.shutdown(wait=False)
        self.assertFalse(held.done())
        executor.shutdown(cancel_futures=True)
        self.assertTrue(held.cancelled())

    def test_refused(self) -> None:
        """A function needs the codec pickle, which needs a local endpoint or keys."""
        with Executor(self.refused()) as executor:
            self.assertRaises(TypeError, executor.submit, math.sqrt)
            self.assertRaises(TypeError, executor.submit, b"x", key=1)
        error = self.assertRaises(ConfigurationError, Executor, ["127.0.0.1:1", "jobs.example:1"], codec="pickle")
        self.assertIn("jobs.example", str(error))
        Executor("127.0.0.1:1", codec="pickle").shutdown()
        self.assertRaises(ConfigurationError, Client, codec="pickle")

    def test_pickle(self) -> None:
        """A function's value and its exception return unchanged; a server without the app is recognized."""

        def calling(frames: list[bytes]) -> list[list[bytes]]:
            request = native(frames)
            try:
                return [request.reply(app(*request.body, context=Context(b"", {"client": "::1"}, lambda: False)))]
            except ValueError as error:
                return [request.error(Code.APP_ERROR, f"ValueError: {error}")]

        endpoint = self.broker(calling).endpoint
        with Executor(endpoint, codec="pickle") as executor:
            self.assertEqual(executor.submit(divmod, 7, 2).result(PATIENCE), (3, 1))
            self.assertEqual(executor.submit(int, "20", base=16).result(PATIENCE), 32)
            self.assertIsInstance(executor.submit(int, "x").exception(PATIENCE), ValueError)
            self.assertEqual(list(executor.map(pow, [2, 3], [4, 5])), [16, 243])
            self.assertEqual(sorted(executor.map(pow, [2, 3], [4, 5], ordered=False)), [16, 243])
            error = executor.submit(textwrap.dedent, 3).exception(PATIENCE)
            assert error is not None
            shown = r'(?s)^\n"""\nTraceback .*textwrap.py", line \d+, in dedent\n.*Error: .*\n"""$'
            self.assertIsInstance(error.__cause__, RemoteTraceback)
            self.assertRegex(str(error.__cause__), shown)
            self.assertNotIn("pickled.py", str(error.__cause__))
        self.assertIn("codec pickle", str(self.assertRaises(AppError, self.client(endpoint).call, b"x")))
        with Executor(self.broker(echo).endpoint, codec="pickle") as executor:
            self.assertIn("pirate.pickled.app", str(executor.submit(len, "x").exception(PATIENCE)))

    def test_main(self) -> None:
        """A function or a class of the main program is rejected, by its name, before the call is sent."""
        code = """
import functools, sys
from pirate.client import Executor

def double(x):
    return 2 * x

class Thing:
    def method(self):
        pass

executor = Executor(sys.argv[1], codec="pickle", timeout=30)
for job in (
    (double, 2), (lambda: 1,), (functools.partial(double, 2),), (map, double, []), (Thing,), (Thing().method,),
    (str, Thing()),
):
    try:
        executor.submit(*job)
    except TypeError as error:
        print(error)
executor.submit(str, "__main__").result()
executor.shutdown()
"""
        broker = self.broker(lambda frames: [[*frames[:3], RETURNED, pickle.dumps(None)]])
        out, err = self.program("-c", code, broker.endpoint).communicate(timeout=PATIENCE)
        self.assertEqual(err, b"")
        told = "is defined in the main program, which the workers cannot import: move it to a module of its own"
        names = ["double", "<lambda>", "double", "double", "Thing", "Thing.method", "Thing"]
        self.assertEqual(out.decode().splitlines(), [f"{name} {told}" for name in names])
        self.assertEqual(native(broker.next()).body[0], CALL)
        self.assertTrue(broker.seen.empty())

    def test_trusted(self) -> None:
        """The app runs calls of clients on this machine or with a key, and not of unknown ones."""
        for client, trusted in (
            ("127.0.0.1", True),
            ("::1", True),
            ("localhost:0:0:7", True),
            (None, False),
            ("10.0.0.1", False),
        ):
            context = Context(b"", {"client": client}, lambda: False)
            self.assertEqual(isTrusted(context), trusted)
            if not trusted:
                self.assertRaises(PermissionError, app, b"x", context=context)

    def test_fork(self) -> None:
        """A forked child can use an executor, and so can its parent."""
        code = r"""
import os, sys
from pirate.client import Executor
executor = Executor(sys.argv[1])
os.write(1, b"%r\n" % executor.submit(b"x").result(30))
child = os.fork()
os.write(1, b"%r\n" % executor.submit(b"y").result(30))
if not child:
    os._exit(0)
os.waitpid(child, 0)
executor.shutdown()
"""
        out, err = self.program("-W", "ignore", "-c", code, self.broker(echo).endpoint).communicate(timeout=PATIENCE)
        self.assertEqual((out, err), (b"b'x'\nb'y'\nb'y'\n", b""))


class ArgumentTests(ClientCase):
    """Further arguments of a client."""

    def test_codecs(self) -> None:
        """With a codec each argument is a frame, and a reply's frames are values; an empty frame is None."""
        broker = self.broker(lambda frames: [[*frames[:3], *([b""] if frames[3] == b"null" else frames[3:])]])
        for name in ("json", "msgpack"):
            if name == "msgpack":
                try:
                    import msgpack  # noqa: F401
                except ImportError:
                    continue
            with Client(broker.endpoint, codec=name) as client:
                self.assertEqual(client.call({"a": [1, "x"]}), {"a": [1, "x"]})
                self.assertEqual(client.call(1, "two"), [1, "two"])
                self.assertEqual(list(client.map([[1], {"b": 2}])), [[1], {"b": 2}])
        with Client(broker.endpoint, codec="json") as client:
            self.assertIsNone(client.call(None))
            self.assertRaises(TypeError, client.call, object())
        with Client(self.broker(lambda frames: [[*frames[:3], b"{"]]).endpoint, codec="json") as client:
            self.assertIn("not JSON", str(self.assertRaises(ValueError, client.call, 1)))

    def test_trace(self) -> None:
        """``before`` and ``after`` see each call, and the result of ``before`` is sent."""
        broker = self.broker(picky)
        seen: list[tuple[str, str | None]] = []
        with Client(
            broker.endpoint,
            before=lambda call: f"00-{call.service}",
            after=lambda call: seen.append((call.trace, type(call.error).__name__)),
        ) as client:
            client.call(b"x", service="s")
            self.assertRaises(AppError, client.call, b"bad")
            client.submit(b"y").result(PATIENCE)
            list(client.map([b"z"]))
            client.call(b"w", trace="mine")
        self.assertEqual([native(broker.next()).trace for _ in range(5)], ["00-s", "00-", "00-", "00-", "00-"])
        self.assertEqual([error for _, error in seen], ["NoneType", "AppError", "NoneType", "NoneType", "NoneType"])
        with Client(broker.endpoint) as client:
            client.call(b"x", trace="mine")
        self.assertEqual(native(broker.next()).trace, "mine")

    def test_ping(self) -> None:
        """A ping returns the server's state; another kind of broker is recognized, and a plain client cannot ping."""
        facts = {"server": "pirate", "version": "1", "state": "ready", "workers": 5, "busy": 3, "idle": 2, "backlog": 3}
        with Client(self.broker(lambda frames: [native(frames).pingReply(facts)]).endpoint) as client:
            pingReply = client.ping()
            found = {name: getattr(pingReply, name) for name in facts}
            self.assertEqual((found, pingReply.ready), (facts, True))
        older = {"server": "pirate", "version": "0", "backlog": 3}
        with Client(self.broker(lambda frames: [native(frames).pingReply(older)]).endpoint) as client:
            pingReply = client.ping()
            self.assertEqual((pingReply.state, pingReply.workers, pingReply.ready), ("unknown", 0, False))
        self.assertRaises(CallError, self.client(self.broker(echo).endpoint).ping)
        self.assertRaises(Unavailable, self.client(self.refused()).ping, 0.05)
        self.assertRaises(ConfigurationError, self.client(self.refused(), plain=True).ping)

    def test_denied(self) -> None:
        """A server that rejects the key raises Denied at once, each time; when it accepts the key later, calls work."""
        if not zmq.has("curve"):
            raise SkipTest("this ZeroMQ has no CURVE")
        server, me = zmq.curve_keypair(), zmq.curve_keypair()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, 0)
        doorkeeper, router = context.socket(zmq.REP), context.socket(zmq.ROUTER)
        doorkeeper.bind("inproc://zeromq.zap.01")
        router.curve_secretkey, router.curve_publickey, router.curve_server = server[1], server[0], True
        port = router.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            for code in (b"400", b"400", b"200"):
                version, number, *_ = doorkeeper.recv_multipart()
                doorkeeper.send_multipart([version, number, code, b"", b"", b""])
            router.send_multipart(router.recv_multipart())

        serving = threading.Thread(target=serve)
        serving.start()
        with Client(port, curve=(server[0], me), timeout=PATIENCE) as client:
            for _ in range(2):
                began = time.monotonic()
                self.assertRaises(Denied, client.call, b"x")
                self.assertLess(time.monotonic() - began, PATIENCE / 2)
            self.assertEqual(client.call(b"x"), b"x")
        serving.join(PATIENCE)

    def test_keys(self) -> None:
        """With the right keys the server is reached, with a wrong one it is not; half a pair is invalid."""
        if not zmq.has("curve"):
            raise SkipTest("this ZeroMQ has no CURVE")
        server, me = zmq.curve_keypair(), zmq.curve_keypair()
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.curve_secretkey, router.curve_publickey, router.curve_server = server[1], server[0], True
            port = router.bind_to_random_port("tcp://127.0.0.1")
            echoing = threading.Thread(target=lambda: router.send_multipart(router.recv_multipart()))
            echoing.start()
            with Client(port, curve=(me[0], me), timeout=0.3) as client:
                self.assertRaises(Unavailable, client.call, b"x")
            with Client(port, curve=(server[0], me), timeout=PATIENCE) as client:
                self.assertEqual(client.call(b"x"), b"x")
            echoing.join(PATIENCE)
        for wrong in (b"x", (server[0],), (server[0], (me[0], b"short")), ("/nowhere.key", me)):
            self.assertRaises(ConfigurationError, Client, port, curve=wrong)


class AsyncTests(ClientCase):
    """Features of ``AsyncClient``."""

    def run_(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine, which must leave nothing behind."""
        asyncio.run(main)

    def test_forgottenStream(self) -> None:
        """A stream that is no longer used is cancelled at once, without being closed."""
        cancelled: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def endless(frames: list[bytes]) -> list[list[bytes]]:
            request = native(frames)
            if request.command == "cancel":
                cancelled.put(request.requestId)
                return []
            return [request.part([b"1"]), request.part([b"2"])]

        async def main() -> None:
            async with AsyncClient(self.broker(endless).endpoint, timeout=PATIENCE) as client:
                stream = client.stream(b"x")
                key = stream.request
                async for part in stream:
                    self.assertEqual(part, b"1")
                    break
                del stream
                self.assertEqual(await asyncio.to_thread(cancelled.get, timeout=PATIENCE), key)

        self.run_(main())

    def test_loops(self) -> None:
        """A client raises MisuseError in another loop than the first, and after it is closed."""
        client = AsyncClient(self.broker(echo).endpoint, timeout=PATIENCE)

        async def use() -> None:
            self.assertEqual(await client.call(b"x"), b"x")

        async def misuse(word: str) -> None:
            try:
                await client.call(b"x")
            except MisuseError as error:
                self.assertIn(word, str(error))
            else:
                self.fail("it was not refused")

        with asyncio.Runner() as first:
            first.run(use())
            self.run_(misuse("loop"))
            first.run(client.close())
            first.run(misuse("closed"))

    def test_name(self) -> None:
        """A host name is looked up without blocking the loop."""
        endpoint = self.broker(echo).endpoint.replace("127.0.0.1", "localhost")

        async def main() -> None:
            async with AsyncClient(endpoint, timeout=PATIENCE) as client:
                self.assertEqual(await client.call(b"x"), b"x")

        self.run_(main())
        with Client(endpoint, timeout=PATIENCE) as client:
            began = time.monotonic()
            self.assertEqual(client.call(b"x"), b"x")
            self.assertLess(time.monotonic() - began, PATIENCE)
