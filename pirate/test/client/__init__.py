"""Tests of :mod:`pirate.client`."""
