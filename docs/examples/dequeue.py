"""The work of a dequeue worker.  Try it: twistd -n pirate --dequeue dequeue.sweep --check-for-dequeue 60"""

import time
from pathlib import Path


def sweep() -> None:
    """Remove files that have been in ./spool for more than an hour."""
    for each in Path("spool").glob("*"):
        if each.stat().st_mtime < time.time() - 3600:
            each.unlink()
            print(f"removed {each}")
