"""A web service that leaves its slow work to worker processes."""

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, Service
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from pirate.client import AppError, TwistedClient
from pirate.service import JobServer
from pirate.settings import PoolLimits


class Jobs(Service):
    """This process's own client of its job server."""

    def __init__(self, reactor, server):
        self._reactor = reactor
        self._server = server

    def startService(self):
        super().startService()
        self._client = TwistedClient(self._reactor, self._server.endpoints.frontend[0])

    def stopService(self):
        super().stopService()
        return self._client.close()

    def call(self, payload):
        """Return a Deferred of the reply, which fails if there is none within 10 seconds."""
        return self._client.call(payload, timeout=10)


class Shout(Resource):
    """POST a text, and get it back in capitals."""

    isLeaf = True

    def __init__(self, jobs):
        super().__init__()
        self._jobs = jobs

    def render_POST(self, request):
        reply = self._jobs.call(request.content.read())
        request.notifyFinish().addErrback(lambda gone: reply.cancel())
        reply.addCallbacks(request.write, self._report, errbackArgs=[request])
        reply.addCallback(lambda written: request.finish() if request.channel else None)
        return NOT_DONE_YET

    def _report(self, failure, request):
        if request.channel:
            request.setResponseCode(500 if failure.check(AppError) else 504)
            request.write(failure.value.detail.encode())


def makeShop():
    """Return the whole application: job server, its client, web server."""
    from twisted.internet import reactor

    limits = PoolLimits(minServers=2, maxServers=8)
    server = JobServer(reactor, frontend=6660, backend=6661, app="shout.shout", limits=limits)
    jobs = Jobs(reactor, server)
    web = StreamServerEndpointService(serverFromString(reactor, "tcp:8080:interface=127.0.0.1"), Site(Shout(jobs)))
    shop = Application("shop")
    for each in (server, jobs, web):
        each.setServiceParent(shop)
    return shop


application = makeShop()
