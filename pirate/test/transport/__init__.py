"""Tests of :mod:`pirate.transport`."""
