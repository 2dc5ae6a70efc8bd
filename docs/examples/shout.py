def shout(payload: bytes) -> bytes:
    return payload.upper()
