"""Tests of :mod:`pirate.settings`."""
