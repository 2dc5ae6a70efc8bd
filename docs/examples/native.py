"""A client that gets errors: it writes and reads the native header by itself."""

import json
import os
import sys

import zmq

request = os.urandom(16)
server = zmq.Context().socket(zmq.DEALER)
server.connect("tcp://127.0.0.1:6660")
server.send_multipart([b"PIR1" + request + b'{"attempts": 1}', b"", *map(os.fsencode, sys.argv[1:])])
header, delimiter, *body = server.recv_multipart()
if header[:20] != b"PIR1" + request or delimiter:
    sys.exit("this is not the answer")
told = json.loads(header[20:] or "{}")
if told.get("status") == "error":
    sys.exit(f"{told['code']}: {told['message']}")
print(body)
