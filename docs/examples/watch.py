"""Hooks that keep a record of workers.  Try them: twistd -n pirate --hooks watch.Record"""

from twisted.logger import Logger

from pirate.hooks import ChildExit, Hooks
from pirate.service import JobServer


class Record(Hooks):
    """Log where the server listens, and which workers ended unexpectedly."""

    _log = Logger()

    def serverStarted(self, server: JobServer) -> None:
        self._log.info("clients can connect to {endpoint}", endpoint=server.endpoints.frontend[0])

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        if not how.clean:
            self._log.warn("lost {pid}: {how}; there are {count} others", pid=pid, how=how, count=len(server.workers))
