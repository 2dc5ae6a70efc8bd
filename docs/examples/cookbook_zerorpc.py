"""A replacement for zerorpc.Client: methods by name, and remote errors as exceptions."""

import sys

from pirate.client import AppError, Client


class Remote:
    """Call the tasks of a server as methods."""

    def __init__(self, *endpoint, timeout=30):
        self._client = Client(*endpoint, codec="json", timeout=timeout)

    def __getattr__(self, name):
        return lambda *arguments: self._client.call(name, list(arguments))

    def close(self):
        self._client.close()


server = Remote(*sys.argv[1:])
print(server.greet("Bo"))
try:
    server.sing()
except AppError as error:
    print(error.type, error.text)
server.close()
