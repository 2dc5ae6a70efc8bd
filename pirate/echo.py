"""The default app: it gives back what it gets."""


def echo(*frames: bytes) -> tuple[bytes, ...]:
    """
    The request's own frames.

    :param frames: the request's body.
    """
    return frames
