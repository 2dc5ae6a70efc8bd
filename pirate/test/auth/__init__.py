"""Tests of :mod:`pirate.auth`."""
