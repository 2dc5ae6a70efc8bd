"""Tests of :mod:`pirate.commands`."""
