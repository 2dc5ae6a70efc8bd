"""Hooks that keep a record of workers.  Try them: twistd -n pirate --hooks watch.Record"""

from twisted.logger import Logger

from pirate.hooks import Hooks


class Record(Hooks):
    """Log where the server listens, and which workers ended unexpectedly."""

    _log = Logger()

    def serverStarted(self, server):
        self._log.info("clients can connect to {endpoint}", endpoint=server.endpoints.frontend[0])

    def childExited(self, server, pid, how):
        if not how.clean:
            self._log.warn("lost {pid}: {how}; there are {count} others", pid=pid, how=how, count=len(server.workers))
