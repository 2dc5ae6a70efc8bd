import asyncio
import sys

from pirate.client import AsyncClient


async def main(*endpoints: str) -> None:
    async with AsyncClient(*endpoints) as client:  # without arguments: tcp://127.0.0.1:6660
        print(await client.call(b"Ahoy!", timeout=5))


asyncio.run(main(*sys.argv[1:]))
