"""Tests of :mod:`pirate.testing`."""
