"""A worker of NATS: a subscriber of a queue group, with nats-py or with nats-core."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from job import work

#: The subject of requests, and the group of workers that share them.
SUBJECT, GROUP = "job", "workers"


async def natspy(endpoint: str) -> None:
    """Answer requests for ever with nats-py."""
    import nats

    client = await nats.connect(endpoint)

    async def done(message: Any) -> None:
        (reply,) = work(message.data)
        await message.respond(reply)

    await client.subscribe(SUBJECT, queue=GROUP, cb=done)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def natscore(endpoint: str) -> None:
    """Answer requests for ever with nats-core."""
    from nats.client import connect

    client = await connect(endpoint)
    subscription = await client.subscribe(SUBJECT, queue=GROUP)
    await client.flush()
    print("ready", flush=True)
    async for message in subscription:
        (reply,) = work(message.data)
        await client.publish(message.reply, reply)


if __name__ == "__main__":
    kind, endpoint = sys.argv[1:]
    asyncio.run({"natspy": natspy, "natscore": natscore}[kind](endpoint))
