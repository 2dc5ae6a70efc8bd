# -*- test-case-name: pirate.test.integration.test_files -*-
"""Tests of a server with a low limit of open files, and with many unknown peers."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from time import monotonic

from pirate.test.support.program import script
from pirate.test.support.servers import APPS, ProgramCase
from pirate.testing.zmtp import RawPeer

#: The limit of open files, and the number of unknown peers at each socket.
FILES, STRANGERS = 100, 100
#: The handshake timeout in seconds, after which the server closes the unknown peers that it has not refused.
HANDSHAKE = 1.5
#: The share of a processor that the server may use meanwhile.
SHARE = 0.5


class FilesTests(ProgramCase):
    """Unknown peers that exhaust the connections."""

    def test_strangers(self) -> None:
        """While unknown peers hold all connections, a killed worker is replaced, and the processor stays idle."""
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
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
