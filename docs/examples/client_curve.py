import sys

from pirate.client import Client

with Client(*sys.argv[1:], curve=("server.key", "me.key_secret")) as client:
    print(client.call(b"Ahoy!", timeout=5))
