import sys
from typing import Any

from twisted.internet.task import react

from pirate.client import TwistedClient


async def main(reactor: Any, *endpoints: str) -> None:
    client = TwistedClient(reactor, *endpoints)  # without arguments: tcp://127.0.0.1:6660
    print(await client.call(b"Ahoy!", timeout=5))
    await client.close()


react(main, sys.argv[1:])
