def shout(payload):
    return payload.upper()
