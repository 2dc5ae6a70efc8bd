"""Tests of :mod:`pirate.worker`."""
