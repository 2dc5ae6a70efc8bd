"""Tests of pirate on real sockets and real children."""
