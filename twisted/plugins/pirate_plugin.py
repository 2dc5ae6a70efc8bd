"""The ``twistd pirate`` plugin: four strings, so that ``twistd --help`` imports nothing of this package."""

from twisted.application.service import ServiceMaker

pirate = ServiceMaker("pirate", "pirate.tap", "Preforking ZeroMQ job server", "pirate")
