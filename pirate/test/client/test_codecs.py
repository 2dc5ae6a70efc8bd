# -*- test-case-name: pirate.test.client.test_codecs -*-
"""Tests of the codecs: the frames of requests, and the values of replies."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.client.codecs import BytesCodec, FrameCodec, newCodec
from pirate.errors import ConfigurationError


class CodecTests(SynchronousTestCase):
    """What each codec encodes and decodes."""

    def test_bytes(self) -> None:
        """With ``bytes`` a reply is its one frame; a reply of several raises an error that names the other codec."""
        codec = BytesCodec()
        self.assertEqual(codec.encode((b"a", bytearray(b"b"))), [b"a", b"b"])
        self.assertEqual((codec.decode([b"x"]), codec.decode([b""])), (b"x", b""))
        error = self.assertRaises(ValueError, codec.decode, [b"x", b"y"])
        self.assertEqual(str(error), "the reply has 2 frames: codec='frames' returns them as a list")

    def test_frames(self) -> None:
        """With ``frames`` a reply is the list of its frames, even if there is one."""
        codec = FrameCodec()
        self.assertEqual(codec.encode((b"a",)), [b"a"])
        self.assertEqual((codec.decode((b"x",)), codec.decode([b"x", b""])), ([b"x"], [b"x", b""]))

    def test_json(self) -> None:
        """With ``json`` each frame is a value, an empty one is None, and several are a list."""
        codec = newCodec("json")
        self.assertEqual(codec.encode(({"a": [1, 2]}, "é")), [b'{"a":[1,2]}', b'"\\u00e9"'])
        self.assertEqual((codec.decode([b"[1]"]), codec.decode([b""]), codec.decode([b"1", b"2"])), ([1], None, [1, 2]))
        self.assertRaises(TypeError, codec.encode, ())
        self.assertIn("the reply is not JSON", str(self.assertRaises(ValueError, codec.decode, [b"{"])))

    def test_new(self) -> None:
        """A codec is given by its name or as an object; anything else is invalid."""
        mine = FrameCodec()
        self.assertIs(newCodec(mine), mine)
        wrong: list[Any] = ["yaml", "pickle", None, object(), 1]
        for each in wrong:
            self.assertIn(repr(each), str(self.assertRaises(ConfigurationError, newCodec, each)))
