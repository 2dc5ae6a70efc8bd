# -*- test-case-name: pirate.test.wire.test_words -*-
"""JSON frames, words, codes, and the base class of the values that the parsers return."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.words import (
    CANCEL,
    ERROR,
    MAX_JSON,
    PARTIAL,
    RETIRE,
    WORDS,
    Code,
    Malformed,
    Value,
    decodeObject,
    encode,
)


class DecodeTests(SynchronousTestCase):
    """Which frames are JSON objects."""

    def test_object(self) -> None:
        """An object is decoded whatever the order and spacing of its text."""
        self.assertEqual(decodeObject(b' {"b": [1, null, "\xc3\xa9"],\n"a": {}} '), {"a": {}, "b": [1, None, "é"]})
        self.assertEqual(decodeObject(b"{}"), {})

    def test_otherBuffers(self) -> None:
        """A frame may be any buffer."""
        for kind in (bytearray, memoryview):
            self.assertEqual(decodeObject(kind(b'{"a":1}')), {"a": 1})  # type: ignore[arg-type]

    def test_otherValues(self) -> None:
        """JSON that is no object is rejected."""
        for frame in (b"[]", b"1", b'"a"', b"null", b"true", b"NaN", b"Infinity", b"[{}]"):
            self.assertIsNone(decodeObject(frame), frame)

    def test_noJson(self) -> None:
        """Text that is no JSON is rejected without an exception."""
        for frame in (b"", b" ", b"{", b"{}}", b"{'a':1}", b"\xff", b'{"a":"\xff"}', b'{"a":\x00}', b"\xef\xbb\xbf{"):
            self.assertIsNone(decodeObject(frame), frame)

    def test_deep(self) -> None:
        """Nesting that is too deep for the interpreter is rejected; how deep that is depends on Python's version."""
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            half = (MAX_JSON - 10) // 2 // len(opening)
            self.assertIsNone(decodeObject(opening * half))
            for depth in (half, half // 3):
                value = decodeObject(b'{"a":' + opening * depth + b"1" + closing * depth + b"}")
                self.assertIn(value and [*value], (None, ["a"]))

    def test_hugeNumber(self) -> None:
        """A number with more digits than Python parses is rejected without an exception."""
        self.assertIsNone(decodeObject(b'{"a":' + b"9" * 50_000 + b"}"))

    def test_tooLong(self) -> None:
        """An object longer than the limit is rejected unread, while one that just fits is decoded."""
        padding = MAX_JSON - len(b'{"a":""}')
        self.assertEqual(decodeObject(b'{"a":"' + b"x" * padding + b'"}'), {"a": "x" * padding})
        self.assertIsNone(decodeObject(b'{"a":"' + b"x" * (padding + 1) + b'"}'))


class EncodeTests(SynchronousTestCase):
    """What is sent as JSON."""

    def test_roundTrip(self) -> None:
        """What is encoded is decoded to the same."""
        told = {"a": [1, 2.5, None, True], "b": "é\n\u2028", "": {}}
        self.assertEqual(decodeObject(encode(told)), told)

    def test_ascii(self) -> None:
        """The frame is compact ASCII, so that half a character cannot make it unreadable."""
        frame = encode({"text": "\u00e9\ud800"})
        self.assertEqual(frame, b'{"text":"\\u00e9\\ud800"}')
        self.assertEqual(decodeObject(frame), {"text": "\u00e9\ud800"})


class WordTests(SynchronousTestCase):
    """The words and codes of the wire."""

    def test_status(self) -> None:
        """The original's four words and the heartbeat are a worker's; those of the broker and of replies are not."""
        self.assertEqual(WORDS, {b"waiting", b"processing", b"dequeue", b"exiting", b"heartbeat"})
        self.assertTrue(WORDS.isdisjoint({RETIRE, CANCEL, PARTIAL, ERROR}))

    def test_codes(self) -> None:
        """The codes are the text that clients compare with."""
        self.assertEqual(
            {str(code) for code in Code},
            {
                "app-error",
                "timeout",
                "worker-lost",
                "expired",
                "busy",
                "unknown-service",
                "cancelled",
                "denied",
                "malformed",
                "stopping",
            },
        )


class Pair(Value):
    """A value with two fields, one of them inherited."""

    __slots__ = ("second",)

    def __init__(self, second: object) -> None:
        self.second = second


class ValueTests(SynchronousTestCase):
    """Equality and ``repr``."""

    def test_equality(self) -> None:
        """Values are equal by class and fields, and equal ones have one hash."""
        self.assertEqual(Malformed("a", [b"x"]), Malformed("a", [b"x"]))
        self.assertEqual(hash(Malformed("a")), hash(Malformed("a")))
        self.assertNotEqual(Malformed("a"), Malformed("b"))
        self.assertNotEqual(Malformed("a"), Malformed("a", [b"x"]))
        self.assertNotEqual(Malformed("a"), "a")

    def test_subclass(self) -> None:
        """A value of a subclass with the same fields is another value."""

        class Other(Pair):
            __slots__ = ()

        self.assertNotEqual(Pair(1), Other(1))
        self.assertEqual(repr(Other(1)), "Other(second=1)")

    def test_repr(self) -> None:
        """``repr`` shows every field."""
        self.assertEqual(repr(Malformed("bad-header", [b"x"])), "Malformed(reason='bad-header', reply=[b'x'])")
