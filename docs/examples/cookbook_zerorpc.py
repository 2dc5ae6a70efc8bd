"""A replacement for zerorpc.Client: methods by name, and remote errors as exceptions."""

import sys
from collections.abc import Callable
from typing import Any

from pirate.client import AppError, Client


class Remote:
    """Call the tasks of a server as methods."""

    def __init__(self, *endpoint: str, timeout: float = 30) -> None:
        self._client = Client(*endpoint, codec="json", timeout=timeout)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self._client.call(name, list(arguments))

    def close(self) -> None:
        self._client.close()


server = Remote(*sys.argv[1:])
print(server.greet("Bo"))
try:
    server.sing()
except AppError as error:
    print(error.type, error.text)
server.close()
