import os
import sys
from time import monotonic

from pirate.client import Call, Client


def before(call: Call) -> str:
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


def after(call: Call) -> None:
    how = "ok" if call.error is None else type(call.error).__name__
    print(how, call.trace[:3], monotonic() - call.began < 5, file=sys.stderr)


with Client(*sys.argv[1:], before=before, after=after) as client:
    print(client.call(b"Ahoy!"))
