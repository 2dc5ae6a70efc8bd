import sys

from pirate.client import Client

with Client(*sys.argv[1:]) as client:  # without arguments: tcp://127.0.0.1:6660
    print(client.call(b"Ahoy!", timeout=5))
