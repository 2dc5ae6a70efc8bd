"""Apps that wait for other services.  Try one: twistd -n pirate --app asyncapps.fetch --concurrency 100"""

import asyncio
import json
from collections.abc import AsyncIterator

from pirate.app import Context


async def fetch(host: bytes, port: bytes, line: bytes) -> bytes:
    """A coroutine function: while it waits for the other server, the worker runs other requests."""
    reader, writer = await asyncio.open_connection(host.decode(), int(port))
    try:
        writer.write(line + b"\n")
        return (await reader.readline()).rstrip(b"\n")
    finally:
        writer.close()


async def pages(*names: bytes) -> AsyncIterator[bytes]:
    """An asynchronous generator: a reply in parts."""
    for name in names:
        await asyncio.sleep(0)
        yield name.upper()


class Steward:
    """A class: what it opens belongs to the worker's loop."""

    def __init__(self) -> None:
        self.stock: asyncio.Queue[str] = asyncio.Queue()

    async def setup(self) -> None:
        """Awaited before the worker reports that it is ready."""
        for number in range(3):
            await self.stock.put(f"barrel {number}")

    async def __call__(self, order: bytes) -> str:
        barrel = await self.stock.get()
        return f"{barrel} for {order.decode()}"

    async def close(self) -> None:
        """Awaited when the worker exits."""
        while not self.stock.empty():
            print("left over:", self.stock.get_nowait())


async def tidy(seconds: bytes) -> str:
    """When it is cancelled, by its caller or at the soft time limit, it cleans up and re-raises."""
    try:
        await asyncio.sleep(float(seconds))
    except asyncio.CancelledError:
        print("cleaned up")
        raise
    return "done"


async def look(payload: bytes, *, context: Context) -> str:
    """The context is each request's own."""
    await asyncio.sleep(0)
    return json.dumps({"request": context.request, "attempt": context.attempt, "cancelled": context.cancelled})
