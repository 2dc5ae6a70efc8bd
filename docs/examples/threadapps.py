"""An app for threads.  Try it: twistd -n pirate --app threadapps.resolve --threads 20"""

import socket
import threading

lock = threading.Lock()
asked = 0


def resolve(name):
    """It blocks, and so do nineteen others; what they share needs a lock."""
    global asked
    with lock:
        asked += 1
    return socket.gethostbyname(name.decode())
