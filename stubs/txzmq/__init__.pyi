"""The part of txZMQ that pirate builds on."""

from typing import Any, ClassVar

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

class ZmqEndpointType:
    """How an endpoint is used."""

    bind: ClassVar[str]
    connect: ClassVar[str]

class ZmqEndpoint:
    """An address, and how it is used."""

    type: str
    address: str
    def __init__(self, type: str, address: str) -> None: ...

class ZmqFactory:
    """The owner of a ZeroMQ context and of the connections on it."""

    reactor: Any
    ioThreads: int
    lingerPeriod: int
    context: Any
    connections: set[ZmqConnection]
    def __init__(self) -> None: ...
    def shutdown(self) -> None: ...

@implementer(IReadDescriptor)
class ZmqConnection:
    """A ZeroMQ socket in the reactor."""

    socketType: ClassVar[int]
    highWaterMark: int
    factory: ZmqFactory | None
    socket: Any
    endpoints: list[ZmqEndpoint]
    read_scheduled: Any
    fd: int
    def __init__(
        self, factory: ZmqFactory, endpoint: ZmqEndpoint | None = ..., identity: bytes | None = ...
    ) -> None: ...
    def addEndpoints(self, endpoints: list[ZmqEndpoint]) -> None: ...
    def fileno(self) -> int: ...
    def logPrefix(self) -> str: ...
    def connectionLost(self, reason: Any) -> None: ...
    def doRead(self) -> None: ...
    def send(self, message: list[bytes]) -> None: ...
    def messageReceived(self, message: list[bytes]) -> None: ...
    def shutdown(self) -> None: ...
