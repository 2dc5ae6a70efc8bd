"""The default app, which returns what it is sent."""


def echo(*frames: bytes) -> tuple[bytes, ...]:
    """
    Return the request's own frames.

    :param frames: the request's body.
    """
    return frames
