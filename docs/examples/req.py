import zmq

server = zmq.Context().socket(zmq.REQ)
server.connect("tcp://127.0.0.1:6660")
server.send(b"Ahoy!")
print(server.recv())
