"""Tests of pirate."""
