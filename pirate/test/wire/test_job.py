# -*- test-case-name: pirate.test.wire.test_job -*-
"""Tests of the message that a child is spawned with."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.job import Job

JOB = Job(backend="tcp://127.0.0.1:7001", app="mod.fn", importPath=["/srv"], parent=1, title="zmq worker 7001")


class JobTests(SynchronousTestCase):
    """The parent encodes a job, and the child decodes it."""

    def test_roundTrip(self) -> None:
        """Decoding gives back every field, whatever its characters are."""
        for changed in ({}, {"prefetch": 4, "softTimeout": 0.5}, {"importPath": ["/sr\n\u00fc", "\udcff"]}):
            job = Job(**{**JOB._fields(), **changed})
            self.assertEqual(Job.decode(job.encode()), job)

    def test_oneLine(self) -> None:
        """A job is one line, so that the child knows where it ends and keeps the pipe."""
        line = Job(**{**JOB._fields(), "title": "a\nb"}).encode()
        self.assertEqual((line.count(b"\n"), line[-1:]), (1, b"\n"))

    def test_forChild(self) -> None:
        """A child's job is the server's with the child's own identity, token and keys; the server's is unchanged."""
        keys = {"server": "s", "public": "p", "secret": "k"}
        own = JOB.forChild(b"child_1", "token", keys, dequeue=False)
        self.assertEqual((own.identity, own.token, own.keys), ("child_1", "token", keys))
        self.assertEqual((own.backend, own.app, own.title), (JOB.backend, JOB.app, JOB.title))
        self.assertEqual((JOB.identity, JOB.token, JOB.keys), ("", "", {}))

    def test_dequeue(self) -> None:
        """Only the child that runs the dequeue callable is told of it."""
        job = Job(**{**JOB._fields(), "dequeue": "mod.clean"})
        told = [job.forChild(b"child_1", "", {}, dequeue=dequeue).dequeue for dequeue in (False, True)]
        self.assertEqual(told, [None, "mod.clean"])

    def test_malformed(self) -> None:
        """A line that is no job is refused."""
        self.assertRaises(ValueError, Job.decode, b"{")
        self.assertRaises(TypeError, Job.decode, b"{}")
        self.assertRaises(TypeError, Job.decode, json.dumps({**JOB._fields(), "other": 1}).encode())
