import sys

from pirate.client import Client

with Client(sys.argv[1:]) as client:  # such as tcp://10.0.0.1:6660 tcp://10.0.0.2:6660
    print(client.call(b"Ahoy!", timeout=5))
