# -*- test-case-name: pirate.test.test_plugin -*-
"""Tests of the twistd plugin."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from pirate.tap import Options, makeService


class PluginTests(SynchronousTestCase):
    """The plugin as twistd finds it."""

    def plugin(self) -> Any:
        """Return the one service maker named pirate."""
        [found] = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "pirate"]
        return found

    def test_found(self) -> None:
        """twistd finds exactly one plugin named pirate, with a description."""
        self.assertEqual(self.plugin().description, "Preforking ZeroMQ job server")

    def test_loads(self) -> None:
        """The plugin leads to the options and the service of ``pirate.tap``."""
        plugin = self.plugin()
        self.assertIs(plugin.options, Options)
        self.assertIs(plugin.makeService, makeService)
