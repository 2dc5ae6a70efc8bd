import sys

from pirate.client import Client

with Client(*sys.argv[1:]) as client, client.stream(b"3") as parts:
    for part in parts:
        print(part)
