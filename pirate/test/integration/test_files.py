# -*- test-case-name: pirate.test.integration.test_files -*-
"""A server that may have few files open, and strangers who would take them all."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from time import monotonic

from pirate.test.support.program import script
from pirate.test.support.servers import APPS, ProgramCase
from pirate.testing.zmtp import RawPeer

#: Files that the server may have open, and strangers on each socket.
FILES, STRANGERS = 100, 100
#: Seconds that a peer has for its handshake: so long those strangers stay that the server does not close before.
HANDSHAKE = 1.5
#: The share of a processor that a server may use which has nothing to do.
SHARE = 0.5


class FilesTests(ProgramCase):
    """What strangers cannot keep a server from."""

    def test_strangers(self) -> None:
        """While strangers hold all places, a killed worker is replaced, its client served, and no processor burnt."""
        command = (*script("twistd"), "-n", "--pidfile=", "pirate", f"--app={APPS}.pid", "--frontend=*", "--backend=*")
        options = ("--workers=1", f"--handshake-timeout={HANDSHAKE}")
        server = self.launch("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *command, *options)
        [found] = server.out.until(r"frontend: (\S+); backend: (\S+)")
        server.out.until("ready, with")
        [first] = self.asking(found[1], b"x").result()
        strangers = []
        for endpoint in found.groups() * STRANGERS:
            with contextlib.suppress(OSError):
                strangers.append(RawPeer(endpoint))
                self.addCleanup(strangers[-1].close)
        os.kill(int(first), signal.SIGKILL)
        server.out.until("ended while")
        before, began = cpuSeconds(server.pid), monotonic()
        for each in strangers:
            each.awaitEnd(30)
        used, took = cpuSeconds(server.pid) - before, monotonic() - began
        [second] = self.asking(found[1], b"x").result()
        self.assertNotEqual(first, second)
        self.assertLess(used, SHARE * took)
        self.assertEqual(server.stop(), 0)
        self.assertEqual([line for line in server.out.all() if "cannot start" in line or "Traceback" in line], [])


def cpuSeconds(pid: int) -> float:
    """Return how much time of a processor a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
