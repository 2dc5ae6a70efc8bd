"""An app for threads.  Try it: twistd -n pirate --app threadapps.resolve --threads 20"""

import socket
import threading

lock = threading.Lock()
asked = 0


def resolve(name: bytes) -> str:
    """Block, as nineteen other calls do at the same time; shared state needs a lock."""
    global asked
    with lock:
        asked += 1
    return socket.gethostbyname(name.decode())
