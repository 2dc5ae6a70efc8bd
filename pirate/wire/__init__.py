"""
The wire protocol, frames to values and back, and nothing else: ``docs/reference/wire.rst`` in code.

Each leg of the broker has one module and one parser, and the parser is total: any list of frames gives a value,
``None`` (a greeting that means nothing), or a ``Malformed`` with the reason.  A frame is ``bytes``; a large one may be
any other buffer with a length, and is passed on untouched.
"""
