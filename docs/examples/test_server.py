"""A test with a real server, for unittest.  Run it: python -m unittest test_server"""

import unittest

from pirate.client import Client
from pirate.testing import serving


class ServerTests(unittest.TestCase):
    """The app, called by a client over the network."""

    def test_reply(self) -> None:
        server = self.enterContext(serving("shout.shout", workers=2))
        with Client(server.endpoint) as client:
            self.assertEqual(client.call(b"ahoy"), b"AHOY")


if __name__ == "__main__":
    unittest.main()
