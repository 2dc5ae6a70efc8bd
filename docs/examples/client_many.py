import sys

from pirate.client import Client

with Client(*sys.argv[1:]) as client:
    for reply in client.map([b"one", b"two", b"three"], concurrency=64):
        print(reply)
    futures = [client.submit(word) for word in (b"four", b"five")]
    print(sorted(future.result() for future in client.as_completed(futures)))
