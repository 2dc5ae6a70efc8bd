"""
A server that is attacked in every way that there is while a good client works: does it stand, does the client notice?

Run it with ``python benchmarks/fuzz.py``; the exit status is 0 if nothing was found.
"""

from __future__ import annotations

from trials.case import program
from trials.fuzzing import ATTACKING
from trials.malformed import MALFORMED
from trials.openfiles import OPEN_FILES

if __name__ == "__main__":
    program(__doc__, (*ATTACKING, OPEN_FILES, MALFORMED), seconds=10)
