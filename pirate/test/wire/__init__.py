"""Tests of :mod:`pirate.wire`."""
