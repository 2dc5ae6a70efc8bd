"""The app of ``failover.py``: it tells when it begins a request, and never ends the first attempt at one."""

import os
from time import monotonic, sleep

#: The environment variable that names the file in which it tells that.
LOG = "PIRATE_TRIAL_LOG"


def begin(number: bytes) -> bytes:
    """Write a line, the number, the process id and the time; answer if it is not the first of this number."""
    path = os.environ[LOG]
    with open(path, "a") as file:
        file.write(f"{number.decode()} {os.getpid()} {monotonic()}\n")
    with open(path) as file:
        attempts = sum(line.split()[0] == number.decode() for line in file)
    if attempts == 1:
        sleep(3600)
    return number
