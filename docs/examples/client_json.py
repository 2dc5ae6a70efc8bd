import sys

from pirate.client import Client

with Client(*sys.argv[1:], codec="json") as client:
    print(client.call({"width": 100}, timeout=5))
