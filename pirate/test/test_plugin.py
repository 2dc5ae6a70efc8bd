# -*- test-case-name: pirate.test.test_plugin -*-
"""The twistd plugin is there for everybody, and light."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from pirate.tap import Options, makeService


class PluginTests(SynchronousTestCase):
    """What twistd finds."""

    def plugin(self) -> Any:
        """The one service maker of our name."""
        [found] = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "pirate"]
        return found

    def test_found(self) -> None:
        """twistd finds exactly one plugin of our name, with a line of help."""
        self.assertEqual(self.plugin().description, "Preforking ZeroMQ job server")

    def test_loads(self) -> None:
        """It leads to our options and our service."""
        plugin = self.plugin()
        self.assertIs(plugin.options, Options)
        self.assertIs(plugin.makeService, makeService)
