"""The ``twistd pirate`` plugin: four strings, so that it costs and breaks nothing in anybody's ``twistd --help``."""

from twisted.application.service import ServiceMaker

pirate = ServiceMaker("pirate", "pirate.tap", "Preforking ZeroMQ job server", "pirate")
