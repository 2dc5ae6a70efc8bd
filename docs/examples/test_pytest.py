"""The same for pytest.  Run it: python -m pytest test_pytest.py"""

from collections.abc import Callable

from pirate.client import Client
from pirate.testing import ServerProcess

pytest_plugins = ["pirate.pytestplugin"]


def test_reply(pirate_server: Callable[..., ServerProcess]) -> None:
    server = pirate_server("shout.shout", workers=2)
    with Client(server.endpoint) as client:
        assert client.call(b"ahoy") == b"AHOY"
