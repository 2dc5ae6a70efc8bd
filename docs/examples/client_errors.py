import sys

from pirate.client import AppError, Client, Timeout, Unavailable

with Client(*sys.argv[1:]) as client:
    try:
        print(client.call(b"abc", timeout=5))
    except AppError as error:
        print("the app raised", error.type, error.text)
    except Unavailable:
        print("no server is reachable")
    except Timeout as error:
        print("no reply, sent", error.sent, "times")
