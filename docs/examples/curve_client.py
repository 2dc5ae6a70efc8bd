import sys

import zmq
import zmq.auth

endpoint, mine, servers, text = sys.argv[1:]
s = zmq.Context().socket(zmq.REQ)
s.curve_publickey, s.curve_secretkey = zmq.auth.load_certificate(mine)
s.curve_serverkey, _ = zmq.auth.load_certificate(servers)
s.linger = 0  # do not wait, at the end, for a server that refuses the key
s.connect(endpoint)
s.send(text.encode())
print(s.recv().decode() if s.poll(5000) else "no reply: is the key listed, and does the server run?")
