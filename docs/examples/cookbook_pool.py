"""What were pool.map, pool.imap_unordered and pool.apply_async."""

import sys

from pirate.client import Client

with Client(*sys.argv[1:]) as pool:
    numbers = [b"%d" % each for each in range(5)]
    print([int(each) for each in pool.map(numbers)])  # pool.map(square, range(5))
    print(sorted(int(each) for each in pool.map(numbers, ordered=False)))  # pool.imap_unordered(square, range(5))
    print(int(pool.submit(b"9").result(timeout=5)))  # pool.apply_async(square, (9,)).get(timeout=5)
