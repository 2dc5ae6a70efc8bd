import zmq

s = zmq.Context().socket(zmq.DEALER)
s.identity = b"child_1"
s.connect("tcp://127.0.0.1:6661")
s.send_multipart([b"", b"waiting"])
while True:
    _, request, _, *body = s.recv_multipart()
    s.send_multipart([b"", b"processing"])
    s.send_multipart([b"", request, b"", *map(bytes.upper, body)])
    s.send_multipart([b"", b"waiting"])
