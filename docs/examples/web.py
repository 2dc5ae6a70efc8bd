"""A web service that leaves its slow work to worker processes."""

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from pirate.client import AppError, CallError
from pirate.service import JobServer
from pirate.settings import PoolLimits


class Shout(Resource):
    """POST a text, and get it back in capitals."""

    isLeaf = True

    def __init__(self, server: JobServer) -> None:
        super().__init__()
        self._server = server

    def render_POST(self, request: Request) -> int:
        answered = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda gone: answered.cancel())
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        assert request.content is not None
        try:
            request.write(await self._server.call(request.content.read(), timeout=10))
        except CancelledError:
            return
        except CallError as error:
            request.setResponseCode(500 if isinstance(error, AppError) else 504)
            request.write(error.detail.encode())
        request.finish()


def makeShop() -> Any:
    """Return the whole application: job server and web server."""
    from twisted.internet import reactor

    limits = PoolLimits(minServers=2, maxServers=8)
    server = JobServer(reactor, frontend=6660, backend=6661, app="shout.shout", limits=limits)
    web = StreamServerEndpointService(serverFromString(reactor, "tcp:8080:interface=127.0.0.1"), Site(Shout(server)))
    shop = Application("shop")
    for each in (server, web):
        each.setServiceParent(shop)
    return shop


application = makeShop()
