import os
import socket
import sys

import zmq
import zmq.auth

endpoint, mine, servers = sys.argv[1:]
s = zmq.Context().socket(zmq.DEALER)
s.curve_publickey, s.curve_secretkey = zmq.auth.load_certificate(mine)
s.curve_serverkey, _ = zmq.auth.load_certificate(servers)
s.identity = f"{socket.gethostname()}-{os.getpid()}".encode()
s.connect(endpoint)
s.send_multipart([b"", b"waiting"])
while True:
    _, request, _, *body = s.recv_multipart()
    s.send_multipart([b"", b"processing"])
    s.send_multipart([b"", request, b"", *map(bytes.upper, body)])
    s.send_multipart([b"", b"waiting"])
