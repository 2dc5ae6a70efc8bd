"""Tests of :mod:`pirate.pool`."""
