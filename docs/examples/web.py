"""A web service that leaves its slow work to worker processes."""

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from pirate.client import AppError
from pirate.service import JobServer
from pirate.settings import PoolLimits


class Shout(Resource):
    """POST a text, and get it back in capitals."""

    isLeaf = True

    def __init__(self, server):
        super().__init__()
        self._server = server

    def render_POST(self, request):
        reply = self._server.call(request.content.read(), timeout=10)
        request.notifyFinish().addErrback(lambda gone: reply.cancel())
        reply.addCallbacks(request.write, self._report, errbackArgs=[request])
        reply.addCallback(lambda written: request.finish() if request.channel else None)
        return NOT_DONE_YET

    def _report(self, failure, request):
        if request.channel:
            request.setResponseCode(500 if failure.check(AppError) else 504)
            request.write(failure.value.detail.encode())


def makeShop():
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
