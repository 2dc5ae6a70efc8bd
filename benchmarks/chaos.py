"""
A server under full load while its workers are killed, stopped, reloaded and starved: is any request lost or doubled?

Run it with ``python benchmarks/chaos.py``; the exit status is 0 if every verdict is ``ok``.
"""

from __future__ import annotations

from trials.account import ACCOUNT
from trials.case import program
from trials.flood import FLOODS
from trials.output import OUTPUTS
from trials.places import PLACES

if __name__ == "__main__":
    program(__doc__, (ACCOUNT, *FLOODS, *OUTPUTS, *PLACES), seconds=8)
