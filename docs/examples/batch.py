"""Send requests in one message, and print their replies."""

import os
import sys

import zmq

payloads = [each.encode() for each in sys.argv[1:]]

with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
    socket.linger = 0
    socket.connect("tcp://127.0.0.1:6660")
    ids = [os.urandom(16) for _ in payloads]
    timeouts = [(5000).to_bytes(4, "big") for _ in payloads]
    sizes = [len(each).to_bytes(2, "big") for each in payloads]
    body = b"".join([bytes([len(payloads)]), *ids, *timeouts, *sizes, *payloads])
    socket.send_multipart([b"PIR1" + os.urandom(16) + b'{"command":"batch"}', b"", body])
    replies: dict[bytes, bytes] = {}
    while len(replies) < len(ids):
        header, _, body = socket.recv_multipart()
        if header != b"PIR1" + bytes(16) + b'{"status":"batch"}':
            replies[header[4:20]] = body
            continue
        count, at = body[0], 1 + 18 * body[0]
        for number in range(count):
            size = int.from_bytes(body[1 + 16 * count + 2 * number :][:2], "big")
            replies[body[1 + 16 * number :][:16]] = body[at : at + size]
            at += size
    print(*(replies[each].decode() for each in ids))
