"""Tests of :mod:`pirate.broker`."""
