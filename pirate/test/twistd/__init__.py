"""Tests of :mod:`pirate.twistd`."""
