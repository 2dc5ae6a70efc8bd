"""What were add.delay(2, 3), get() and a group."""

import sys

from pirate.client import Client

with Client(*sys.argv[1:], codec="json") as tasks:
    result = tasks.submit("add", [2, 3])  # add.delay(2, 3)
    print(result.result(timeout=10))  # .get(timeout=10)
    print(list(tasks.map(("add", [each, each]) for each in range(4))))  # group(add.s(i, i) for i in range(4))
