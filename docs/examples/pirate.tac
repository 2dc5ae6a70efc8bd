from twisted.application.service import Application
from twisted.internet import reactor

from pirate.service import JobServer
from pirate.settings import PoolLimits

application = Application("jobs")
limits = PoolLimits(minServers=2, maxServers=8)
server = JobServer(reactor, frontend=6660, backend=6661, app="shout.shout", limits=limits)
server.setServiceParent(application)
