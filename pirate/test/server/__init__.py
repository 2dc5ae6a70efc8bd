"""Tests of :mod:`pirate.server`."""
