# -*- test-case-name: pirate.test.wire.test_workerconfig -*-
"""Tests of the message that a child is spawned with."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.workerconfig import WorkerConfig

CONFIG = WorkerConfig(
    backend="tcp://127.0.0.1:7001", app="mod.fn", importPath=["/srv"], parent=1, title="zmq worker 7001"
)


class JobTests(SynchronousTestCase):
    """The parent encodes a configuration, and the child decodes it."""

    def test_roundTrip(self) -> None:
        """Decoding gives back every field, whatever its characters are."""
        for changed in ({}, {"prefetch": 4, "softTimeout": 0.5}, {"importPath": ["/sr\n\u00fc", "\udcff"]}):
            config = WorkerConfig(**{**CONFIG._fields(), **changed})
            self.assertEqual(WorkerConfig.decode(config.encode()), config)

    def test_oneLine(self) -> None:
        """A configuration is one line, so that the child knows where it ends and keeps the pipe."""
        line = WorkerConfig(**{**CONFIG._fields(), "title": "a\nb"}).encode()
        self.assertEqual((line.count(b"\n"), line[-1:]), (1, b"\n"))

    def test_forChild(self) -> None:
        """A child's configuration has the child's own identity, token and keys; the server's is unchanged."""
        keys = {"server": "s", "public": "p", "secret": "k"}
        own = CONFIG.forChild(b"child_1", "token", keys, dequeue=False)
        self.assertEqual((own.identity, own.token, own.keys), ("child_1", "token", keys))
        self.assertEqual((own.backend, own.app, own.title), (CONFIG.backend, CONFIG.app, CONFIG.title))
        self.assertEqual((CONFIG.identity, CONFIG.token, CONFIG.keys), ("", "", {}))

    def test_dequeue(self) -> None:
        """Only the child that runs the dequeue callable is told of it."""
        config = WorkerConfig(**{**CONFIG._fields(), "dequeue": "mod.clean"})
        told = [config.forChild(b"child_1", "", {}, dequeue=dequeue).dequeue for dequeue in (False, True)]
        self.assertEqual(told, [None, "mod.clean"])

    def test_malformed(self) -> None:
        """A line that is no configuration is refused."""
        self.assertRaises(ValueError, WorkerConfig.decode, b"{")
        self.assertRaises(TypeError, WorkerConfig.decode, b"{}")
        self.assertRaises(TypeError, WorkerConfig.decode, json.dumps({**CONFIG._fields(), "other": 1}).encode())
