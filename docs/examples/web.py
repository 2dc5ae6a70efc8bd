"""A web service that leaves its slow work to worker processes."""

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, Service
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from pirate.service import JobServer
from pirate.settings import PoolLimits


class Jobs(Service):
    """This process's own client of its job server: one connection, any number of requests at a time."""

    def __init__(self, server):
        self._server = server

    def startService(self):
        from txzmq import ZmqEndpoint, ZmqEndpointType, ZmqFactory, ZmqREQConnection

        super().startService()
        frontend = self._server.endpoints.frontend[0]
        self._factory = ZmqFactory()
        self._connection = ZmqREQConnection(self._factory, ZmqEndpoint(ZmqEndpointType.connect, frontend))

    def stopService(self):
        super().stopService()
        self._factory.shutdown()

    def ask(self, *frames):
        """Return a Deferred of the reply's frames, which fails if there is none within 10 seconds."""
        return self._connection.sendMsg(*frames, timeout=10)


class Shout(Resource):
    """POST a text, and get it back in capitals."""

    isLeaf = True

    def __init__(self, jobs):
        super().__init__()
        self._jobs = jobs

    def render_POST(self, request):
        asked = self._jobs.ask(request.content.read())
        request.notifyFinish().addErrback(lambda gone: asked.cancel())
        asked.addCallback(self._answer, request).addErrback(self._excuse, request)
        return NOT_DONE_YET

    def _answer(self, reply, request):
        if reply[0].startswith(b'{"pirate":"error"'):
            request.setResponseCode(500)
        request.write(reply[0])
        request.finish()

    def _excuse(self, failure, request):
        if failure.check(CancelledError) is None:
            request.setResponseCode(504)
            request.finish()


def makeShop():
    """The whole service: job server, its client, web server."""
    from twisted.internet import reactor

    limits = PoolLimits(minServers=2, maxServers=8)
    server = JobServer(reactor, frontend=6660, backend=6661, app="shout.shout", limits=limits, errorReply=True)
    jobs = Jobs(server)
    web = StreamServerEndpointService(serverFromString(reactor, "tcp:8080:interface=127.0.0.1"), Site(Shout(jobs)))
    shop = Application("shop")
    for each in (server, jobs, web):
        each.setServiceParent(shop)
    return shop


application = makeShop()
