"""Hooks that write a server's counts into a file, for those who are not in its process."""

from __future__ import annotations

import json
import os
from time import monotonic

from pirate.hooks import Hooks
from pirate.service import JobServer

#: The environment variable that names the file.
VARIABLE = "PIRATE_TRIAL_STATS"


class StatsFile(Hooks):
    """Writes the counts whenever the pool has been looked at, which is every ``check-for-waiting`` seconds."""

    def idle(self, server: JobServer) -> None:
        """Replace the file."""
        path = os.environ[VARIABLE]
        workers = {str(pid): str(state) for pid, state in server.workers.items()}
        with open(f"{path}.new", "w") as file:
            json.dump({**server.stats(), "pids": workers, "written": monotonic()}, file)
        os.replace(f"{path}.new", path)
